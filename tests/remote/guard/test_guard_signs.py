"""What a guard takes for work: real jobs, processes and files, an nvidia-smi that says as told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS, Here, agent, is_alive, wait_until
from support.hosts.guarded import HOUR, MINUTE, Guarded, up_h

from remote.agent.guard.rules import ASK_JOBS, NOTHING, POWER_OFF
from remote.guard import guard_status, install_guard, keep


@pytest.fixture
def here(vm: Guarded) -> Iterator[Here]:
    """Jobs on it."""
    with agent(**vm.environment) as one:
        here = Here(Path(vm.workdir), one)
        yield here
        here.stop_all()


@pytest.fixture
def running() -> Iterator[Callable[..., int]]:
    """Starts a process that sleeps, with these words after its program; returns its pid."""
    with ExitStack() as stack:

        def start(*words: str, **environment: str) -> int:
            argv = [sys.executable, "-c", "import time; time.sleep(600)", *words]
            child = stack.enter_context(subprocess.Popen(argv, env=os.environ | environment))
            stack.callback(child.kill)
            return child.pid

        yield start


def test_an_idle_machine_is_powered_off(vm: Guarded) -> None:
    assert vm.look()["did"] == NOTHING
    vm.was_idle_for(29 * MINUTE)
    assert vm.look()["did"] == NOTHING
    assert not vm.is_off
    vm.was_idle_for(MINUTE)
    assert vm.look()["did"] == POWER_OFF
    assert vm.is_off
    assert guard_status(vm).last_stop is None  # it was asked for; nobody has seen it yet
    (vm.folder / "boot_id").write_text("the-next-boot\n")
    stopped = guard_status(vm).last_stop
    assert stopped is not None
    assert stopped.why.startswith("idle for 30 min")
    assert stopped.t == pytest.approx(time.time(), abs=60)


def test_a_power_off_that_does_not_come_is_an_error_and_no_stop(vm: Guarded) -> None:
    """Something holds it up, as a program that refuses to end."""
    vm.look()
    vm.was_idle_for(HOUR)
    assert vm.look()["did"] == POWER_OFF
    assert guard_status(vm).error == ""
    asked = json.loads(vm.file("last-stop.json").read_text())
    vm.file("last-stop.json").write_text(json.dumps({**asked, "up_s": asked["up_s"] - 10 * MINUTE}))
    state = guard_status(vm)
    assert (state.error, state.last_stop) == ("it was asked to power off 10 min ago, and is still up", None)
    assert vm.look()["did"] == POWER_OFF  # it is asked again each minute


def test_a_running_job_and_its_queue_are_work_and_their_end_is_until_the_next_look(vm: Guarded, here: Here) -> None:
    first = here.start(WAITS, "0", needs_gpu=True)
    second = here.start(WAITS, "0", needs_gpu=True)
    here.at_work(first)
    vm.was_idle_for(HOUR)
    seen = vm.look()
    assert (seen["did"], seen["busy"][:2]) == (NOTHING, [f"job {first} is running", f"job {second} is queued"])
    (here.workspace / "go").touch()
    here.end_of(first)
    here.end_of(second)
    assert [sign for sign in vm.look()["busy"] if "job" in sign] == [
        f"job {job} has just ended" for job in (first, second)
    ]
    for job in (first, second):
        says_it_was(here.directory(job) / "exit.json", 2 * MINUTE)
    assert not [sign for sign in vm.look()["busy"] if "job" in sign]


def says_it_was(file: Path, ago_s: float) -> None:
    """As if what a file keeps of the time since boot had been so long ago; its own time stays that of just now."""
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "up_s": said["up_s"] - ago_s}))


@pytest.mark.parametrize("ago_s", [0.0, 2 * MINUTE])
@pytest.mark.parametrize("clock_s", [-24 * HOUR, 24 * HOUR], ids=["set forward", "set back"])
def test_a_wall_clock_that_jumps_hides_no_end_of_a_job_and_makes_none(
    vm: Guarded, here: Here, clock_s: float, ago_s: float
) -> None:
    job = here.start("print('done')")
    here.end_of(job)
    file = here.directory(job) / "exit.json"
    says_it_was(file, ago_s)
    then_t = time.time() + (clock_s if ago_s == 0 else 0)
    os.utime(file, (then_t, then_t))
    assert [sign for sign in vm.look()["busy"] if "job" in sign] == ([] if ago_s else [f"job {job} has just ended"])


@pytest.mark.parametrize(("ago_s", "is_work"), [(0.0, True), (2 * MINUTE, False)])
def test_the_end_of_a_job_that_an_earlier_agent_wrote_is_known_by_its_file(
    vm: Guarded, here: Here, ago_s: float, is_work: bool
) -> None:
    job = here.start("print('done')")
    here.end_of(job)
    file = here.directory(job) / "exit.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in said.items() if name not in ("boot_id", "up_s")}))
    os.utime(file, (time.time(), time.time() - ago_s))  # it was read just now
    assert bool([sign for sign in vm.look()["busy"] if "job" in sign]) == is_work


def test_an_earlier_guard_finds_in_mark_end_and_state_what_it_looks_at(vm: Guarded, here: Here) -> None:
    """It knows a mark and an end by their file's own time, and reads these fields of a state."""
    job = here.start("print('done')")
    here.end_of(job)
    (mark,) = (vm.folder / "home/.cache/t2v/busy").iterdir()
    for file in (mark, here.directory(job) / "exit.json"):
        assert file.stat().st_mtime == pytest.approx(time.time(), abs=MINUTE)
    seen = vm.look()
    state = json.loads(vm.file("state.json").read_text())
    assert {name: state[name] for name in ("boot_id", "looked_s", "active_s", "busy", "unknown", "error")} == {
        name: seen[name] for name in ("boot_id", "looked_s", "active_s", "busy", "unknown", "error")
    }


def test_a_set_up_is_work(vm: Guarded, here: Here) -> None:
    job = here.start(WAITS, "0", verb="bootstrap")
    here.at_work(job)
    assert f"set-up {job} is running" in vm.look()["busy"]


def test_a_queued_job_whose_supervisor_died_goes_on_by_the_guard_alone(vm: Guarded, here: Here) -> None:
    first = here.start(WAITS, "0", needs_gpu=True)
    here.at_work(first)
    second = here.start("print('at last')", needs_gpu=True)
    holders = [pid for pid in pids() if holds(pid, here.directory(second))]
    for pid in holders:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, holders)))
    (here.workspace / "go").touch()
    vm.look()
    wait_until((here.directory(second) / "exit.json").exists)
    assert (here.directory(second) / "log").read_text() == "at last\n"


def pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def holds(pid: int, directory: Path) -> bool:
    """It has the lock of that job open: its supervisor."""
    try:
        files = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return str(directory / "lock") in files


def test_work_of_a_workspace_that_nobody_told_of_counts(vm: Guarded, running: Callable[..., int]) -> None:
    vm.sees(running(T2V_JOB="20261125-101112-train-3f2a"), running(T2V_JOB="-"))
    assert vm.look()["busy"] == ["job 20261125-101112-train-3f2a is running"]


def test_an_engine_that_somebody_started_by_hand_counts(vm: Guarded, running: Callable[..., int]) -> None:
    vm.sees(running("t2v_core"), running("something", "else"))
    assert vm.look()["busy"] == ["an engine is running"]


def test_a_transfer_counts_as_long_as_its_conversation_moves_bytes(vm: Guarded, running: Callable[..., int]) -> None:
    marks = vm.folder / "home/.cache/t2v/busy"
    marks.mkdir(parents=True, exist_ok=True)
    live, dead = marks / str(running()), marks / "4194000"
    live.touch()
    dead.touch()
    assert vm.look()["busy"] == ["a transfer, or a request, of a moment ago"]
    assert not dead.exists()
    an_hour_ago = time.time() - HOUR
    os.utime(live, (an_hour_ago, an_hour_ago))
    assert vm.look()["busy"] == []
    os.utime(live, (an_hour_ago + 3 * HOUR, an_hour_ago + 3 * HOUR))  # the clock was set back meanwhile
    assert vm.look()["busy"] == []


@pytest.mark.parametrize(
    ("ago_s", "clock_s", "is_work"),
    [(0.0, 24 * HOUR, True), (0.0, -24 * HOUR, True), (2 * MINUTE, 0.0, False)],
    ids=["the clock was set back", "it was set forward", "it was set to when bytes moved"],
)
def test_a_wall_clock_that_jumps_hides_no_transfer_and_makes_none(
    vm: Guarded, ago_s: float, clock_s: float, is_work: bool
) -> None:
    with agent(**vm.environment) as one:
        one.call("keep", seconds=0)
        (mark,) = (vm.folder / "home/.cache/t2v/busy").iterdir()
        vm.sees(int(mark.name))
        says_it_was(mark, ago_s)
        os.utime(mark, (time.time() + clock_s, time.time() + clock_s))
        assert bool(vm.look()["busy"]) == is_work


@pytest.mark.parametrize("said", ["", "{", "[]", '{"boot_id": 3}', '{"up_s": 4.0}', '{"boot_id": "x", "up_s": "y"}'])
def test_a_mark_that_says_nothing_is_known_by_its_own_time(vm: Guarded, running: Callable[..., int], said: str) -> None:
    """An earlier agent leaves an empty one, and so does this one on a full disk."""
    marks = vm.folder / "home/.cache/t2v/busy"
    marks.mkdir(parents=True, exist_ok=True)
    mark = marks / str(running())
    mark.write_text(said)
    vm.sees(int(mark.name))
    assert vm.look()["busy"] == ["a transfer, or a request, of a moment ago"]
    os.utime(mark, (time.time(), time.time() - 2 * MINUTE))
    assert vm.look()["busy"] == []


def test_a_mark_of_an_earlier_boot_is_none_of_this_one(vm: Guarded, running: Callable[..., int]) -> None:
    mark = vm.folder / "home/.cache/t2v/busy" / str(running())
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"boot_id": "an-earlier-boot", "up_s": up_h() * HOUR}))
    vm.sees(int(mark.name))
    assert vm.look()["busy"] == []


def test_looking_on_keeps_nothing_alive_and_asking_for_something_does(vm: Guarded) -> None:
    with agent(**vm.environment) as screen:
        for verb in ("status", "gpu", "guard", "probe", "hello", "ls"):
            screen.call(verb, timeout_s=60, workspace=vm.workdir)
        assert vm.look()["busy"] == []
        screen.call("keep", seconds=0)
        assert vm.look()["busy"] == ["a transfer, or a request, of a moment ago"]


@pytest.mark.parametrize(
    ("percent", "busy", "unknown"),
    [
        ("97", ["GPU 0 is at 97 %"], []),
        ("6", ["GPU 0 is at 6 %"], []),
        ("5", [], []),
        ("[N/A]", [], ["GPU 0 does not say how busy it is"]),
        ("fails", [], ["nvidia-smi: Failed to initialize NVML: Driver/library version mismatch"]),
    ],
)
def test_a_gpu_at_work_is_work_and_one_that_is_silent_is_unknown(
    vm: Guarded, percent: str, busy: list[str], unknown: list[str]
) -> None:
    vm.gpu(percent)
    seen = vm.look()
    assert (seen["busy"], seen["unknown"]) == (busy, unknown)


def test_a_machine_without_nvidia_smi_has_no_gpu_at_work(vm: Guarded) -> None:
    (vm.folder / "bin/nvidia-smi").unlink()
    vm.environment["PATH"] = str(vm.folder / "bin")
    assert (vm.look()["busy"], vm.look()["unknown"]) == ([], [])


def test_a_process_table_that_cannot_be_read_is_unknown(vm: Guarded) -> None:
    vm.environment["T2V_PROC"] = "/nowhere"
    vm.was_idle_for(10 * HOUR)
    seen = vm.look()
    assert seen["did"] == NOTHING
    assert [sign.partition(":")[0] for sign in seen["unknown"]] == ["processes", "SSH sessions"]


def test_the_cap_comes_although_a_job_runs_which_is_asked_to_end_before(vm: Guarded, here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    rules, since = json.loads(vm.file("rules.json").read_text()), {"boot_id": "an-earlier-boot", "up_s": 9.0}
    vm.file("rules.json").write_text(json.dumps({**rules, "since": since, "max_run_h": up_h() + 60 / HOUR}))
    assert vm.look()["did"] == ASK_JOBS
    assert (here.directory(job) / "stop").exists()
    assert not vm.is_off
    vm.file("rules.json").write_text(json.dumps({**rules, "since": since, "max_run_h": up_h()}))
    assert vm.look()["did"] == POWER_OFF
    assert vm.is_off


def test_a_machine_that_may_not_power_itself_off_says_so(vm: Guarded) -> None:
    vm.environment["T2V_POWER_OFF"] = "sh -c 'echo Interactive authentication required >&2; exit 1'"
    vm.look()
    vm.was_idle_for(HOUR)
    assert vm.look()["did"] == POWER_OFF
    state = guard_status(vm)
    assert (state.error, state.last_stop) == ("it cannot power itself off: Interactive authentication required", None)


def test_a_machine_that_is_nobody_s_cloud_is_never_powered_off(vm: Guarded) -> None:
    """t2v.toml may say provider = "gcloud" of somebody's desk."""
    del vm.environment["T2V_POWER_OFF"]
    record = vm.folder / "off"
    for name in ("sudo", "systemctl", "poweroff"):
        vm.program(name, f"#!/bin/sh\ntouch {record}\n")
    vm.look()
    vm.was_idle_for(HOUR)
    assert vm.look()["error"] == "it cannot power itself off: it is not a Google Cloud machine"
    assert not vm.is_off
    install_guard(vm, vm.settings, {})
    assert not guard_status(vm).can_power_off


def test_a_state_of_an_earlier_boot_is_none(vm: Guarded) -> None:
    vm.look()
    vm.was_idle_for(10 * HOUR)
    keep(vm, HOUR)
    (vm.folder / "boot_id").write_text("the-next-boot\n")
    assert guard_status(vm).kept_until_t is None
    assert vm.look()["did"] == NOTHING
