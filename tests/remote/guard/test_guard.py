"""A VM cannot be left on: idle for long enough it powers itself off, with the laptop off and every login expired.

The rules run on a fake clock. Installing is tested against a stand-in for sudo; no systemd was asked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import agent, is_alive, wait_until
from support.hosts.guarded import HOUR, MINUTE, Guarded, up_h

from remote.agent.guard.rules import (
    ASK_JOBS,
    LAST_WORD_S,
    NOTHING,
    POWER_OFF,
    GuardMemory,
    Look,
    Rules,
    after_look,
    due,
    limit_words,
    outlook,
    remembered,
)
from remote.errors import JobNotFound, Refused
from remote.guard import GuardState, guard_status, install_guard, keep
from remote.hosts.settings import HostSettings

RULES = Rules(idle_s=30 * MINUTE, cap_s=24 * HOUR, gpu_percent=5)
BUSY = {
    "job": "job 20261125-101112-train-3f2a is running",
    "queue": "job 20261125-101112-train-3f2a is queued",
    "set-up": "set-up 20261125-101112-bootstrap-3f2a is running",
    "transfer": "a transfer, or a request, of a moment ago",
    "SSH session": "me is at work in pts/0 over SSH",
    "GPU": "GPU 0 is at 97 %",
}


class Machine:
    """A machine on a fake clock, which a guard looks at every minute."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules, self.boot, self.up_s = rules, "boot-1", 0.0
        self.memory: GuardMemory | None = None
        self.kept_until_s = 0.0
        self.done: list[str] = []

    @property
    def is_off(self) -> bool:
        return POWER_OFF in self.done

    def passes(self, seconds: float, *busy: str, unknown: tuple[str, ...] = ()) -> Machine:
        """Time goes by with these signs, until it is off."""
        end_s = self.up_s + seconds
        while self.up_s < end_s and not self.is_off:
            self.up_s += MINUTE
            self.memory = after_look(self.memory, Look(self.boot, self.up_s, busy, unknown))
            what = due(self.rules, self.memory, self.kept_until_s)
            self.done += [] if what == NOTHING else [what]
        return self

    def unguarded(self, seconds: float) -> Machine:
        """The guard is dead; time goes by all the same."""
        self.up_s += seconds
        return self

    def restarts(self) -> Machine:
        self.boot, self.up_s = self.boot + "'", 0.0
        return self


# The rules, on a fake clock


@pytest.mark.parametrize("why", BUSY.values(), ids=BUSY)
def test_a_machine_at_work_stays(why: str) -> None:
    assert not Machine().passes(20 * HOUR, why).is_off


@pytest.mark.parametrize("why", BUSY.values(), ids=BUSY)
def test_the_minutes_without_work_begin_when_work_ends(why: str) -> None:
    machine = Machine().passes(5 * HOUR, why)
    assert not machine.passes(29 * MINUTE).is_off
    assert machine.passes(2 * MINUTE).is_off
    assert machine.up_s - 5 * HOUR <= RULES.idle_s + MINUTE


def test_a_machine_that_nobody_uses_stops_within_a_minute_of_its_time() -> None:
    """The laptop is off and every login has expired: the rules ask neither."""
    machine = Machine().passes(10 * HOUR)
    assert machine.is_off
    assert RULES.idle_s <= machine.up_s <= RULES.idle_s + 2 * MINUTE


def test_a_short_use_every_twenty_minutes_keeps_it_alive() -> None:
    machine = Machine()
    for _ in range(30):
        machine.passes(19 * MINUTE).passes(MINUTE, BUSY["transfer"])
    assert not machine.is_off


def test_what_nobody_can_see_counts_as_work_but_not_for_ever() -> None:
    machine = Machine().passes(23 * HOUR, unknown=("nvidia-smi: Driver/library version mismatch",))
    assert machine.done == []
    assert machine.passes(2 * HOUR, unknown=("nvidia-smi: Driver/library version mismatch",)).is_off
    assert machine.up_s == 24 * HOUR


def test_the_minutes_begin_anew_when_everything_can_be_seen_again() -> None:
    machine = Machine().passes(5 * HOUR, unknown=("nvidia-smi does not answer",))
    assert not machine.passes(29 * MINUTE).is_off
    assert machine.passes(2 * MINUTE).is_off


def test_at_its_cap_it_stops_whatever_it_does_after_the_jobs_were_asked_to_end() -> None:
    machine = Machine().passes(30 * HOUR, BUSY["job"])
    assert machine.up_s == 24 * HOUR
    assert machine.done == [ASK_JOBS] * int(LAST_WORD_S / MINUTE) + [POWER_OFF]


def test_a_kept_machine_stays_that_long_and_not_beyond_its_cap() -> None:
    machine = Machine()
    machine.kept_until_s = 3 * HOUR
    assert not machine.passes(179 * MINUTE).is_off
    assert machine.passes(2 * MINUTE).is_off
    greedy = Machine()
    greedy.kept_until_s = 100 * HOUR
    assert greedy.passes(200 * HOUR).up_s == 24 * HOUR


def test_a_keep_that_ends_before_the_idle_time_takes_nothing_away() -> None:
    machine = Machine()
    machine.kept_until_s = 5 * MINUTE
    assert machine.passes(10 * HOUR).up_s >= RULES.idle_s


def test_after_a_restart_the_minutes_begin_anew() -> None:
    machine = Machine().passes(25 * MINUTE).restarts()
    assert not machine.passes(29 * MINUTE).is_off
    assert machine.passes(3 * MINUTE).is_off


def test_a_restart_that_nobody_can_tell_by_its_boot_id_is_told_by_the_time_since_boot() -> None:
    machine = Machine().passes(10 * HOUR, BUSY["job"])
    machine.up_s = 0.0
    assert not machine.passes(29 * MINUTE).is_off
    assert machine.passes(3 * MINUTE).is_off


def test_what_happened_while_the_guard_was_dead_is_not_taken_for_idle() -> None:
    machine = Machine().passes(HOUR, BUSY["job"]).unguarded(2 * HOUR)
    assert not machine.passes(29 * MINUTE).is_off
    assert machine.passes(3 * MINUTE).is_off


def test_a_late_look_is_no_dead_guard() -> None:
    machine = Machine().passes(20 * MINUTE).unguarded(2 * MINUTE)
    assert machine.passes(10 * MINUTE).is_off


def test_a_guard_that_was_dead_until_after_the_cap_stops_the_machine_at_its_first_look() -> None:
    assert Machine().passes(HOUR).unguarded(30 * HOUR).passes(MINUTE, BUSY["job"]).is_off


def test_a_machine_that_was_up_for_days_is_not_stopped_the_moment_it_gets_its_guard() -> None:
    machine = Machine(RULES._replace(cap_from_s=100 * HOUR)).unguarded(100 * HOUR)
    assert not machine.passes(23 * HOUR, BUSY["job"]).is_off
    assert machine.passes(2 * HOUR, BUSY["job"]).up_s == 124 * HOUR
    assert machine.memory is not None
    assert outlook(machine.rules, machine.memory, 101 * HOUR).why == "24 h after it got its guard, whatever it does"


def test_the_countdown_says_when_and_why() -> None:
    idle = GuardMemory("b", looked_s=2 * HOUR, active_s=HOUR + 50 * MINUTE)
    assert outlook(RULES, idle, 2 * HOUR) == (20 * MINUTE, "idle for 30 min")
    assert outlook(RULES, idle, 2 * HOUR, kept_until_s=4 * HOUR).stops_in_s == 2 * HOUR
    busy = idle._replace(busy=(BUSY["job"],))
    assert outlook(RULES, busy, 2 * HOUR) == (22 * HOUR, "24 h after its start, whatever it does")
    assert outlook(RULES, idle._replace(unknown=("?",)), 2 * HOUR).stops_in_s == 22 * HOUR
    late = idle._replace(active_s=23.9 * HOUR)
    assert outlook(RULES, late, 23.95 * HOUR).why == "24 h after its start, whatever it does"
    assert [limit_words(seconds) for seconds in (45, 60, 90, 1800, 3600, 5400, 86400)] == [
        "45 s", "1 min", "90 s", "30 min", "1 h", "90 min", "24 h",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "said", [None, {}, {"boot_id": "b"}, {"boot_id": "b", "looked_s": "x", "active_s": 1}, {"busy": 3}]
)
def test_a_state_that_is_none_is_forgotten(said: dict[str, Any] | None) -> None:
    assert remembered(said) is None


# Keeping, asking, installing


def test_somebody_keeps_the_machine_and_lets_go_of_it(vm: Guarded) -> None:
    vm.look()
    vm.was_idle_for(HOUR)
    kept = keep(vm, 2 * HOUR)
    assert kept.kept_until_t == pytest.approx(time.time() + 2 * HOUR, abs=30)
    assert kept.stops_t == pytest.approx(kept.kept_until_t, abs=30)
    assert vm.look()["did"] == NOTHING
    assert keep(vm, 0).kept_until_t is None
    assert not vm.is_off


@pytest.mark.parametrize("seconds", [-1.0, 1e9, float("nan")])
def test_a_time_that_is_none_is_refused(vm: Guarded, seconds: float) -> None:
    with pytest.raises(Refused, match="not a time to keep a machine"):
        keep(vm, seconds)


def test_a_machine_without_guard_says_so(tmp_path: Path) -> None:
    bare = Guarded(tmp_path / "bare")
    assert guard_status(bare) == GuardState(is_installed=False)
    with pytest.raises(JobNotFound, match="has no guard"):
        keep(bare, 60)


def test_the_countdown_is_in_this_machine_s_time(vm: Guarded) -> None:
    vm.look()
    vm.was_idle_for(10 * MINUTE)
    state = guard_status(vm)
    assert (state.by, state.is_alive, state.can_power_off, state.busy) == ("process", True, True, ())
    assert state.stops_t == pytest.approx(time.time() + 20 * MINUTE, abs=30)
    assert state.idle_since_t == pytest.approx(time.time() - 10 * MINUTE, abs=30)
    assert state.cap_t == pytest.approx(time.time() + vm.settings.max_run_h * HOUR, abs=60)
    assert state.why == "idle for 30 min"


def test_the_cap_counts_from_the_guard_and_after_a_restart_from_the_boot(tmp_path: Path) -> None:
    vm = Guarded(tmp_path / "vm")
    vm.settings = HostSettings(provider="gcloud", max_run_h=1.0)
    try:
        first = install_guard(vm, vm.settings, {})
        assert first.cap_t == pytest.approx(time.time() + HOUR, abs=30)
        rules = json.loads(vm.file("rules.json").read_text())
        assert rules["since"]["up_s"] == pytest.approx(up_h() * HOUR, abs=30)
        assert install_guard(vm, vm.settings, {}).cap_t == pytest.approx(first.cap_t, abs=5)
        (vm.folder / "boot_id").write_text("the-next-boot\n")
        assert guard_status(vm).cap_t == pytest.approx(time.time() + max(0.0, HOUR - up_h() * HOUR), abs=30)
    finally:
        vm.end()


def test_asking_again_changes_nothing_and_another_workspace_is_added(vm: Guarded) -> None:
    before, pid = vm.file("rules.json").stat().st_mtime_ns, vm.watch_pid
    assert install_guard(vm, vm.settings, {}).is_installed
    assert (vm.file("rules.json").stat().st_mtime_ns, vm.watch_pid) == (before, pid)
    vm.workdir = str(vm.folder / "other")
    install_guard(vm, vm.settings, {})
    told = json.loads(vm.file("rules.json").read_text())["workspaces"]
    assert [Path(path).name for path in told] == ["other", "work"]


def test_without_systemd_a_process_guards_with_nobody_connected(tmp_path: Path) -> None:
    alone = Guarded(tmp_path / "alone")
    alone.environment["T2V_GUARD_EVERY_S"] = "0.05"
    try:
        with agent(**alone.environment) as client:
            client.call(
                "install_guard", timeout_s=60, workspace=alone.workdir, idle_stop_min=0.001, max_run_h=up_h() + 24,
                idle_gpu_percent=5,
            )  # fmt: skip
        wait_until(lambda: alone.is_off)
    finally:
        alone.end()


def test_a_guard_that_was_killed_is_started_by_the_next_conversation(vm: Guarded) -> None:
    wait_until(lambda: vm.watch_pid > 0)
    first = vm.watch_pid
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not is_alive(first))
    guard_status(vm)
    wait_until(lambda: vm.watch_pid > 0)
    assert vm.watch_pid != first


SUDO = """#!{python}
import json, os, sys
words = sys.argv[1:]
with open({record!r}, "a") as file:
    file.write(json.dumps(words) + "\\n")
if words[1:2] == ["install"] and {works}:
    os.execvp(words[1], words[1:])
sys.exit(0 if {works} or words[1:3] == ["systemd-run", "--version"] else 1)
"""
SYSTEMCTL = "#!/bin/sh\ntest -e {folder}/units/t2v-guard.timer\n"


@pytest.fixture
def with_systemd(tmp_path: Path) -> Callable[..., Guarded]:
    """A machine whose sudo writes down what it is asked, and does what `install` says."""

    def make(*, works: bool = True) -> Guarded:
        vm = Guarded(tmp_path / "vm")
        (vm.folder / "units").mkdir()
        vm.program("sudo", SUDO.format(python=sys.executable, record=str(vm.folder / "record"), works=works))
        vm.program("systemctl", SYSTEMCTL.format(folder=vm.folder))
        vm.environment |= {"T2V_SYSTEMD_MARK": str(vm.folder), "T2V_SYSTEMD_UNITS": str(vm.folder / "units")}
        return vm

    return make


def test_where_systemd_may_be_used_a_timer_looks_also_after_a_restart(with_systemd: Callable[..., Guarded]) -> None:
    vm = with_systemd()
    state = install_guard(vm, vm.settings, {})
    assert (state.by, vm.watch_pid) == ("systemd timer", 0)
    asked = [json.loads(line) for line in (vm.folder / "record").read_text().splitlines()]
    files = [f"t2v-guard.{kind}" for kind in ("json", "service", "timer")]
    assert [words for words in asked if words[1] != "-n" and "--version" not in words] == [
        *(["-n", "install", "-D", "-m", "644", str(vm.file(name)), str(vm.folder / "units" / name)] for name in files),
        ["-n", "systemctl", "enable", "--no-reload", "t2v-guard.timer"],
        ["-n", "systemctl", "daemon-reload"],
        ["-n", "systemctl", "restart", "t2v-guard.timer"],
    ]
    service = (vm.folder / "units/t2v-guard.service").read_text()
    assert f'ExecStart=/bin/sh "{vm.file("look.sh")}"' in service
    assert {f"User={os.getuid()}", "Type=oneshot", "KillMode=process"} < set(service.splitlines())
    timer = (vm.folder / "units/t2v-guard.timer").read_text()
    assert {"OnActiveSec=5", "OnUnitActiveSec=60", "WantedBy=timers.target"} < set(timer.splitlines())
    environment = os.environ | vm.environment
    done = subprocess.run(
        ["/bin/sh", vm.file("look.sh")], env=environment, capture_output=True, timeout=240, check=True
    )
    assert json.loads(done.stdout)["did"] == NOTHING


def test_a_timer_that_is_at_work_is_left_alone(with_systemd: Callable[..., Guarded]) -> None:
    vm = with_systemd()
    install_guard(vm, vm.settings, {})
    (vm.folder / "record").write_text("")
    install_guard(vm, vm.settings, {})
    assert "install" not in (vm.folder / "record").read_text()


def test_where_a_timer_cannot_be_made_a_process_guards(with_systemd: Callable[..., Guarded]) -> None:
    vm = with_systemd(works=False)
    try:
        assert install_guard(vm, vm.settings, {}).by == "process"
        wait_until(lambda: vm.watch_pid > 0)
    finally:
        vm.end()
