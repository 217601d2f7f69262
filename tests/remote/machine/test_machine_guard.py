"""The guard on real machines: powered off when idle and at the cap, whatever is broken there, and not while one works.

A machine for each promise, some at a time, since what they do is wait. What ends them is their own systemd.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench.chaos import ChaosProxy, Rules
from support.hosts.agent_here import WAITS
from support.machines.machine_here import WORKDIR, MachineHere, machine_here, needs_a_machine

from remote.guard import GuardState, guard_status
from remote.hosts.host import agent_on
from remote.replies.guard import LastStop

pytestmark = pytest.mark.slow
EVERY_S, IDLE_S, HOUR = 2.0, 3.0, 3600.0
# The kernel writes down the use of a terminal every 8 s, and a look comes up to EVERY_S later.
IDLE_TERMINAL_S = 12.0
AT_ONCE = 9
UNITS = "/etc/systemd/system"
GUARD, RUN = ".cache/t2v/guard", "/run/t2v-guard"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
RELOAD_TAKES_S = 25
Story = Callable[[MachineHere], None]
STORIES: dict[str, Story] = {}


def on_a_machine(story: Story) -> Callable[[dict[str, Future[None]]], None]:
    """A test whose machine is there by the time that it is asked for."""
    STORIES[story.__name__] = story

    def test(machines: dict[str, Future[None]]) -> None:
        machines[story.__name__].result()

    test.__doc__ = story.__doc__
    return test


@pytest.fixture(scope="module")
def machines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Every promise that is asked for, at work."""
    needs_a_machine()

    def told(name: str) -> None:
        with machine_here(tmp_path_factory.mktemp("m") / "m", {"T2V_GUARD_EVERY_S": f"{EVERY_S:g}"}) as machine:
            STORIES[name](machine)

    wanted = {item.name for item in request.session.items}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(told, name) for name in STORIES if name in wanted}


# What a story is made of


def get_guard(m: MachineHere, user: str = "me", *, idle_s: float = IDLE_S, cap_s: float = HOUR) -> dict[str, Any]:
    """It has looked once, and is kept from now on, so that nothing happens before something was broken."""
    rules = {"idle_stop_min": idle_s / 60, "max_run_h": cap_s / HOUR, "idle_gpu_percent": 5.0}
    with agent_on(m.host(user)) as agent:
        said = agent.call("install_guard", timeout_s=240, workspace=WORKDIR, **rules)
    keep(m, HOUR, user)
    if said["by"] == "systemd timer":
        until(m, lambda: "state.json" in as_root(m, f"ls {RUN} || true"))
    return said


def keep(m: MachineHere, seconds: float, user: str = "me") -> None:
    with agent_on(m.host(user)) as agent:
        agent.call("keep", seconds=float(seconds))


def status(m: MachineHere) -> GuardState:
    return guard_status(m.host())


def as_root(m: MachineHere, script: str) -> str:
    return m.machine.inside("sh", "-euc", script, timeout_s=120)


def drop_in(m: MachineHere, *lines: str) -> None:
    """For the unit that looks."""
    path = m.machine.path(f"{UNITS}/t2v-guard.service.d/bench.conf")
    path.parent.mkdir()
    path.write_text("\n".join(("[Service]", *lines)) + "\n")
    m.machine.inside("systemctl", "daemon-reload", timeout_s=120)


def journal(m: MachineHere, *unit: str) -> str:
    return m.machine.inside("journalctl", "-b", "--no-pager", *unit)


def until(m: MachineHere, is_so: Callable[[], bool]) -> None:
    m.machine.wait_for(is_so, 120.0, "does not come to what the test waits for")


def up_s(m: MachineHere) -> float:
    return float(m.machine.inside("cat", "/proc/uptime").split()[0])


def looks_pass(m: MachineHere, idle_s: float = IDLE_S) -> GuardState:
    """Several times as long as it may be idle, after it has been let go of."""
    begin_s = up_s(m)
    until(m, lambda: not m.machine.is_on or up_s(m) > begin_s + 3 * idle_s + EVERY_S)
    assert m.machine.is_on, "it was powered off"
    return status(m)


def last_stop(m: MachineHere) -> str:
    """Why, as written on its disk."""
    return str(json.loads((m.home() / GUARD / "last-stop.json").read_text())["why"])


@contextmanager
def slow_link(m: MachineHere) -> Iterator[None]:
    """What is typed here goes at 1 MB/s, over however many connections, while the context lasts."""
    with ChaosProxy(("127.0.0.1", m.machine.port), Rules(bytes_per_s=1e6)) as link:
        m.known_hosts.pin(m.host("me", port=link.port).key_name, [m.machine.public_host_key])
        settings = m.here.root / "t2v.toml"
        settings.write_text(settings.read_text().replace(f"port = {m.machine.port}", f"port = {link.port}"))
        yield


# When it is idle


@on_a_machine
def test_an_idle_machine_is_powered_off_and_so_it_is_on_its_next_boot(m: MachineHere) -> None:
    assert get_guard(m)["by"] == "systemd timer"
    keep(m, 0)
    m.machine.wait_until_off()
    m.machine.start()
    stopped = status(m).last_stop
    assert isinstance(stopped, LastStop)
    assert stopped.why.startswith("idle for")
    m.machine.wait_until_off()  # nobody asked anything of it but how it stands


@on_a_machine
def test_after_a_power_cut_the_timer_is_there_again(m: MachineHere) -> None:
    get_guard(m)
    m.machine.cut_power()
    m.machine.start()
    m.machine.wait_until_off()
    assert last_stop(m).startswith("idle for")


@on_a_machine
def test_what_a_user_without_sudo_gets_says_that_it_cannot_power_off(m: MachineHere) -> None:
    said = get_guard(m, "plain")
    assert (said["by"], said["can_power_off"]) == ("process", False)
    keep(m, 0, "plain")
    until(m, lambda: guard_status(m.host("plain")).error != "")
    said_by = guard_status(m.host("plain")).error
    assert said_by.startswith("it cannot power itself off: sudo: a password is required"), said_by
    assert m.machine.is_on


@on_a_machine
def test_systemd_has_nothing_to_say_against_our_units(m: MachineHere) -> None:
    get_guard(m)
    as_root(m, "systemctl daemon-reload")
    log = journal(m)
    assert re.findall(r".*t2v[^ ]*:\d+: .*", log) == []
    assert "escape" not in log
    asked = m.machine.inside("sh", "-c", f"systemd-analyze verify {UNITS}/t2v-guard*.[!j]* 2>&1 || true")
    assert [line for line in asked.splitlines() if "t2v" in line] == []


@on_a_machine
def test_a_systemd_that_is_long_in_reading_its_units_gets_its_timer(m: MachineHere) -> None:
    as_root(
        m,
        f"mkdir -p {UNITS}-generators; printf '#!/bin/sh\\nsleep {RELOAD_TAKES_S}\\n' > {UNITS}-generators/slow;"
        f" chmod 755 {UNITS}-generators/slow",
    )
    assert get_guard(m)["by"] == "systemd timer"


# While it works


@on_a_machine
def test_a_job_keeps_it_and_its_end_does_not(m: MachineHere) -> None:
    get_guard(m)
    with agent_on(m.host()) as agent:
        job = agent.call("start", workspace=WORKDIR, verb="test", argv=[sys.executable, "-c", WAITS, "0"])["job"]
    keep(m, 0)
    assert f"job {job} is running" in looks_pass(m).busy
    (m.there() / "go").touch()
    m.machine.wait_until_off()


def moves_bytes(guard: GuardState) -> bool:
    return any("transfer" in why for why in guard.busy)


def keeps_it_while_it_moves(m: MachineHere, verb: str, root: Path) -> None:
    get_guard(m)
    (root / "outputs").mkdir(parents=True)
    (root / "outputs/clip.mp4").write_bytes(os.urandom(24_000_000))
    as_root(m, "mkdir -p /home/me/text2video; chown -R me:me /home/me/text2video")
    with slow_link(m):
        moving = m.t2v(verb, "outputs/clip.mp4", "--host", "me")
        until(m, lambda: moves_bytes(status(m)))
        keep(m, 0)
        assert moves_bytes(looks_pass(m))
        keep(m, HOUR)
        said = moving.communicate(timeout=120)[1]
    assert moving.returncode == 0, said
    keep(m, 0)
    m.machine.wait_until_off()


@on_a_machine
def test_a_pull_keeps_it_as_long_as_bytes_move(m: MachineHere) -> None:
    keeps_it_while_it_moves(m, "pull", m.there())


@on_a_machine
def test_a_push_keeps_it_as_long_as_bytes_move(m: MachineHere) -> None:
    keeps_it_while_it_moves(m, "push", m.here.root)


def somebody_types(guard: GuardState) -> bool:
    return any("at work in pts/" in why for why in guard.busy)


@on_a_machine
def test_a_terminal_in_which_somebody_types_keeps_it_and_one_that_is_left_open_does_not(m: MachineHere) -> None:
    get_guard(m, idle_s=IDLE_TERMINAL_S)
    argv = m.machine.ssh_argv()
    terminal = subprocess.Popen(
        [*argv[:-1], "-tt", argv[-1]], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    is_left = threading.Event()

    def types() -> None:
        assert terminal.stdin is not None
        while not is_left.wait(0.5):
            terminal.stdin.write(b"x")
            terminal.stdin.flush()

    typing = threading.Thread(target=types)
    typing.start()
    try:
        until(m, lambda: somebody_types(status(m)))  # a login may take longer than the machine may be idle
        keep(m, 0)
        looks_pass(m, IDLE_TERMINAL_S)
        until(m, lambda: somebody_types(status(m)))
        is_left.set()
        m.machine.wait_until_off()
    finally:
        is_left.set()
        typing.join()
        terminal.kill()
        terminal.communicate()


# At its cap


@on_a_machine
def test_at_its_cap_it_stops_although_somebody_works_and_wants_it(m: MachineHere) -> None:
    get_guard(m, cap_s=12)
    at_work = subprocess.Popen([*m.machine.ssh_argv(), "sleep", "600"], stdin=subprocess.DEVNULL)
    try:
        m.machine.wait_until_off()
    finally:
        at_work.kill()
        at_work.wait()
    assert last_stop(m) == "12 s after it got its guard, whatever it does"


@on_a_machine
def test_at_its_cap_it_stops_although_its_user_s_folder_is_lost_with_all_that_looks(m: MachineHere) -> None:
    get_guard(m, cap_s=12)
    as_root(m, "chmod 000 /home/me")
    m.machine.wait_until_off()
    assert not (m.home() / GUARD / "last-stop.json").exists()  # no look did it


# Whatever is broken


@on_a_machine
def test_a_full_disk_does_not_keep_it(m: MachineHere) -> None:
    get_guard(m)
    fill = "fallocate -l $(($(df -B1 --output=avail / | tail -1) - 10000000)) /filler"
    as_root(m, f"{fill}; head -c 1G /dev/zero > /filler2 || true")
    full = m.machine.ssh("echo x > ~/one-more")
    assert "No space left" in full.stderr
    keep(m, 0)
    m.machine.wait_until_off()


@on_a_machine
def test_a_disk_that_failed_and_is_read_only_does_not_keep_it(m: MachineHere) -> None:
    get_guard(m)
    disk = m.machine.folder / "disk"
    device = subprocess.run(["findmnt", "-no", "SOURCE", disk], capture_output=True, text=True, check=True).stdout
    subprocess.run(["mount", "-o", "remount,errors=remount-ro", disk], check=True)
    Path("/sys/fs/ext4", Path(device.strip()).name, "trigger_fs_error").write_text("1\n")
    refused = m.machine.ssh("echo x > ~/one-more")
    assert "Read-only file system" in refused.stderr
    keep(m, 0)
    m.machine.wait_until_off()


@on_a_machine
def test_files_of_ours_that_are_broken_do_not_keep_it(m: MachineHere) -> None:
    """As a power cut leaves them, or somebody else; with locks on them that nobody gives back."""
    get_guard(m)
    as_root(
        m,
        f"cd /home/me/{GUARD}; rm -f keep.json; head -c 400 /dev/zero | tee state.json > rules.json; mkdir keep.json;"
        f" cd {RUN}; rm -f state.json keep.json; mkdir state.json; mkfifo keep.json; chown -R me:me . /home/me/{GUARD};"
        " (flock 9; exec sleep 600) 9> lock & (flock 9; exec sleep 600) 9< /home/me/.cache/t2v/guard/rules.json &",
    )
    m.machine.wait_until_off()
    assert last_stop(m).startswith("idle for")


@on_a_machine
def test_looks_that_were_killed_do_not_keep_it(m: MachineHere) -> None:
    get_guard(m)
    script = m.home() / GUARD / "look.sh"
    works = script.read_text()
    script.write_text("kill -9 $$\n")
    until(m, lambda: journal(m, "-u", "t2v-guard").count("status=9/KILL") >= 3)
    script.write_text(works)
    keep(m, 0)
    m.machine.wait_until_off()


@on_a_machine
def test_a_sudo_that_hangs_does_not_keep_it(m: MachineHere) -> None:
    get_guard(m)
    as_root(m, "printf '#!/bin/sh\\nsleep 600\\n' > /usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo")
    as_root(m, "cp /usr/local/bin/sudo /usr/bin/sudo")
    keep(m, 0)
    m.machine.wait_until_off()


@on_a_machine
def test_a_machine_on_which_nothing_can_be_begun_is_powered_off(m: MachineHere) -> None:
    """No process and no thread: the look has to do with itself."""
    get_guard(m)
    drop_in(m, "TasksMax=1")
    keep(m, 0)
    m.machine.wait_until_off()
    assert last_stop(m).startswith("idle for")


@on_a_machine
def test_a_clock_that_jumps_by_days_neither_stops_it_nor_keeps_it(m: MachineHere) -> None:
    get_guard(m)
    clock = m.machine.path("/etc/clock")
    clock.write_text("+0\n")
    drop_in(
        m,
        f"Environment=LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE=/etc/clock FAKETIME_DONT_FAKE_MONOTONIC=1",
    )
    at_work = subprocess.Popen([*m.machine.ssh_argv(), "sleep", "600"], stdin=subprocess.DEVNULL)
    keep(m, 0)
    for jump in ("+3d", "-3d"):
        clock.write_text(f"{jump}\n")
        looked = journal(m, "-u", "t2v-guard").count('"did"')
        until(m, lambda looked=looked: journal(m, "-u", "t2v-guard").count('"did"') > looked + 2)  # type: ignore[misc]
        assert status(m).busy == ("me runs a command over SSH",)
    as_root(m, "pkill -x sleep")
    at_work.wait()
    m.machine.wait_until_off()
