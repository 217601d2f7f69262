"""A guard with nobody there: no network, no login, a clock that jumps, after a preemption, a cap and its own death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.hosts.agent_here import WAITS, Here, agent, is_alive, wait_until
from support.hosts.guarded import HOUR, MINUTE, Guarded, up_h
from test_guard import BUSY, Machine

from remote.agent.guard.rules import NOTHING, POWER_OFF
from remote.hosts.agent_client import agent_argv

# Ends the look with 9 as soon as it opens a connection of any kind.
NO_NETWORK = """
import sys
def watch(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.")) and event != "socket.__new__":
        print(event, file=sys.stderr)
        import os
        os._exit(9)
sys.addaudithook(watch)
"""
CLOCK = "import time; _now = time.time; time.time = lambda: _now() + {jump}\n"


@pytest.fixture
def alone(vm: Guarded) -> Guarded:
    """With no process that looks beside the test."""
    wait_until(lambda: vm.watch_pid > 0)
    pid = vm.watch_pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
    return vm


def looked(vm: Guarded, before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One look of the real agent, after these lines of Python in its process."""
    argv = agent_argv(["guard-look"], sys.executable)
    place = argv.index("-c") + 1
    argv[place] = f"{before}\n{argv[place]}"
    return subprocess.run(
        argv, env=os.environ | vm.environment | environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_powering_off_asks_no_network_and_no_login(alone: Guarded) -> None:
    """The laptop is off, every login has expired: nothing of either is asked for, so neither can hinder it."""
    alone.was_idle_for(HOUR)
    gone = {"CLOUDSDK_CONFIG": "/nowhere", "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json", "SSH_AUTH_SOCK": ""}
    done = looked(alone, NO_NETWORK, **gone)
    assert (done.returncode, done.stderr) == (0, "")
    assert f'"did":"{POWER_OFF}"' in done.stdout.replace(": ", ":")
    assert alone.is_off


def test_what_watches_for_a_network_sees_one(vm: Guarded) -> None:
    done = looked(vm, NO_NETWORK + "import socket; socket.create_connection(('127.0.0.1', 9))\n")
    assert done.returncode == 9, done.stderr


@pytest.mark.parametrize("jump_s", [-10 * 365 * 86_400, -2 * HOUR, 2 * HOUR, 10 * 365 * 86_400])
def test_a_clock_that_jumps_neither_stops_the_machine_nor_keeps_it(alone: Guarded, jump_s: float) -> None:
    alone.was_idle_for(29 * MINUTE)
    done = looked(alone, CLOCK.format(jump=jump_s))
    assert f'"did":"{NOTHING}"' in done.stdout.replace(": ", ":")
    assert not alone.is_off
    alone.was_idle_for(MINUTE)
    done = looked(alone, CLOCK.format(jump=jump_s))
    assert alone.is_off, done.stdout + done.stderr


def test_a_job_is_work_whatever_the_clock_says(alone: Guarded) -> None:
    with agent(**alone.environment) as one:
        here = Here(Path(alone.workdir), one)
        job = here.start(WAITS, "0")
        here.at_work(job)
        alone.was_idle_for(HOUR)
        done = looked(alone, CLOCK.format(jump=-5 * HOUR))
        here.stop_all()
    assert f"job {job} is running" in done.stdout
    assert not alone.is_off


def test_after_its_cap_and_a_start_it_works_as_before() -> None:
    machine = Machine().passes(30 * HOUR, BUSY["job"])
    assert machine.is_off
    machine.done.clear()
    machine.restarts()
    assert not machine.passes(23 * HOUR, BUSY["job"]).is_off
    assert machine.passes(31 * MINUTE).is_off  # idle again, long before the cap of this boot


def test_after_its_cap_and_a_start_it_has_all_of_its_cap_again() -> None:
    machine = Machine().passes(30 * HOUR, BUSY["job"])
    machine.done.clear()
    assert machine.restarts().passes(30 * HOUR, BUSY["job"]).up_s == 24 * HOUR


def test_a_guard_that_was_killed_is_there_again_when_the_last_job_ends_with_nobody_connected(vm: Guarded) -> None:
    wait_until(lambda: vm.watch_pid > 0)
    with agent(**vm.environment) as one:
        here = Here(Path(vm.workdir), one)
        job = here.start(WAITS, "0")
        here.at_work(job)
    first = vm.watch_pid
    try:
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not is_alive(first))
    finally:
        (Path(vm.workdir) / "go").touch()
    wait_until((here.directory(job) / "exit.json").exists)
    wait_until(lambda: vm.watch_pid not in (0, first))


def test_after_a_preemption_the_next_boot_is_guarded_from_its_beginning(alone: Guarded) -> None:
    """What the machine was told before it went away is no reason to stay, nor to go."""
    alone.was_idle_for(HOUR)
    mark = alone.folder / "home/.cache/t2v/preempted"
    mark.write_text('{"boot_id": "this-boot"}')
    (alone.folder / "boot_id").write_text("the-next-boot\n")
    seen = alone.look()
    assert (seen["did"], seen["busy"], seen["unknown"]) == (NOTHING, [], [])
    alone.was_idle_for(31 * MINUTE)
    assert alone.look()["did"] == POWER_OFF


def test_unknown_holds_the_machine_up_to_its_cap_and_no_further(alone: Guarded) -> None:
    alone.gpu("fails")
    alone.was_idle_for(20 * HOUR)
    seen = alone.look()
    assert (seen["did"], len(seen["unknown"])) == (NOTHING, 1)
    rules = json.loads(alone.file("rules.json").read_text())
    since = {"boot_id": "an-earlier-boot", "up_s": 0.0}
    alone.file("rules.json").write_text(json.dumps({**rules, "since": since, "max_run_h": up_h()}))
    assert alone.look()["did"] == POWER_OFF
