"""A job whose supervisor or machine went down, and the way in which supervisors are started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import WAITS, Here, is_alive, wait_until
from support.hosts.agent_shared import agent_of_module, here_with_agent
from support.hosts.programs import DEAF, DONE, ERROR, ON_GPU, SILENT, Another, another_agent, go

from remote.agent.base.units import RUN, SYSTEM, USER, unit_argv
from remote.agent.jobs.endings import how_it_ended

shared, here, another = agent_of_module, here_with_agent, another_agent


# When the supervisor, or the machine, goes down


def kill_supervisor(here: Here, job: str) -> int:
    supervisor = int(here.state(job)["supervisor"])
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not is_alive(supervisor))
    return supervisor


@pytest.mark.parametrize(("program", "state", "reason"), [
    (DONE, "succeeded", "done"),
    (ERROR, "failed", "no clips"),
    (SILENT, "lost", "its processes are gone, and nothing says how they ended"),
], ids=["done", "error", "silent"])  # fmt: skip
def test_a_killed_supervisor_is_replaced_and_the_job_s_end_is_known_from_its_events(
    here: Here, program: str, state: str, reason: str
) -> None:
    job = here.start_engine(program)
    here.wait_for(job, "running")
    killed = kill_supervisor(here, job)
    row = here.row(job)
    assert (row["state"], row["supervised"]) == ("running", True)
    wait_until(lambda: here.state(job)["supervisor"] != killed)
    go(here)
    row = here.end_of(job)
    assert (row["state"], row["reason"], row["supervised"]) == (state, reason, False)


def test_stop_also_ends_a_job_whose_supervisor_was_killed(here: Here) -> None:
    job = here.start(DEAF)
    here.at_work(job)
    kill_supervisor(here, job)
    answer = here.call("stop", job=job, grace_s=0.2)
    assert (answer["state"], answer["left"]) == ("stopped", [])
    assert not is_alive(int((here.workspace / "daemon").read_text()))
    kill(int((here.workspace / "nameless").read_text()))  # of which only that supervisor knew whose it is


def test_what_ended_unseen_is_settled_by_its_events(here: Here) -> None:
    job = here.start_engine(DONE)
    here.wait_for(job, "running")
    os.kill(here.state(job)["supervisor"], signal.SIGKILL)
    go(here)
    wait_until(lambda: not is_alive(here.state(job)["pid"]))
    row = here.end_of(job)
    assert (row["state"], row["code"]) == ("succeeded", 0)
    assert (here.directory(job) / "exit.json").exists()


@pytest.mark.parametrize("t", [1.7e9, None, "soon", True, -5.0, 1e300])
def test_what_nobody_saw_end_has_ended_with_its_last_word(tmp_path: Path, t: object) -> None:
    (tmp_path / "events.jsonl").write_text(json.dumps({"t": t, "kind": "done"}) + "\n")
    before = time.time()
    unseen, seen = how_it_ended(tmp_path, None), how_it_ended(tmp_path, 0)
    assert unseen is not None
    assert seen is not None
    assert unseen["ended"] == 1.7e9 if t == 1.7e9 else before <= unseen["ended"] <= time.time()
    assert before <= seen["ended"] <= time.time()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def test_after_a_restart_of_the_machine_the_job_is_lost_and_the_queue_goes_on(
    here: Here, another: Another, tmp_path: Path
) -> None:
    running = here.start(WAITS, "0", needs_gpu=True)
    queued = here.start(ON_GPU, "queued", needs_gpu=True)
    here.at_work(running)
    wait_until(lambda: supervisors(tmp_path / "work") != [])
    for pid in [*supervisors(tmp_path / "work"), here.state(running)["pid"]]:
        kill(pid)
    (tmp_path / "boot_id").write_text("another boot\n")
    after = another(T2V_BOOT_ID_FILE=str(tmp_path / "boot_id"))
    row = after.row(running)
    assert (row["state"], row["code"], row["reason"]) == ("lost", None, "the machine restarted while it ran")
    after.call("status")
    assert after.end_of(queued)["state"] == "succeeded"


@pytest.mark.parametrize("other", [{"boot_id": "an earlier boot"}, {"start_ticks": 1}], ids=["boot", "start"])
def test_a_number_that_is_another_process_s_by_now_is_left_alone(here: Here, other: dict[str, Any]) -> None:
    job = here.start("pass")
    here.end_of(job)
    wait_until(lambda: not supervisors(here.workspace))  # after its last word it looks at the guard
    victim = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        ticks = int(Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[19])
        state = here.state(job) | {"pid": victim.pid, "start_ticks": ticks} | other
        (here.directory(job) / "state.json").write_text(json.dumps(state))
        (here.directory(job) / "exit.json").unlink()
        assert here.row(job)["state"] == "lost"
        assert here.call("stop", job=job, grace_s=0)["left"] == []
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def supervisors(workspace: Path) -> list[int]:
    """Processes that hold a job's lock open."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and any(
                str(link.readlink()).startswith(str(workspace)) and link.readlink().name == "lock"
                for link in (entry / "fd").iterdir()
            ):
                found.append(int(entry.name))
    return found


# As a unit of the system


def test_where_no_unit_can_be_made_the_supervisor_is_a_process(another: Another, tmp_path: Path) -> None:
    """sudo is a stand-in that refuses; tests/remote/machine/test_machine_jobs.py has the real one, and real units."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sudo").write_text('#!/bin/sh\n[ "$3" = --version ]\n')
    (tmp_path / "bin/sudo").chmod(0o755)
    here = another(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", T2V_SYSTEMD_MARK=str(tmp_path))
    job = here.start("print('in a process')")
    assert here.end_of(job)["state"] == "succeeded"
    assert (here.directory(job) / "log").read_text() == "in a process\n"
    assert here.call("probe")["systemd"] is True


def test_a_unit_is_begun_by_exactly_this_command(tmp_path: Path) -> None:
    argv = unit_argv(tmp_path, SYSTEM, "t2v-job")
    program = Path(__file__).parents[3] / "remote/agent"
    assert argv[:-1] == [
        "sudo", "-n", "systemd-run", f"--uid={os.getuid()}", f"--gid={os.getgid()}", "--unit=t2v-job", "--collect",
        "--quiet", "-p", "KillMode=process", "-p", "TimeoutStopSec=60", "-p", "OOMPolicy=continue",
        "-p", "StandardOutput=null", "--setenv=T2V_JOB=-",
        "--", sys.executable, "-I", "-S", "-X", "utf8", "-c", RUN, str(program), "supervise",
    ]  # fmt: skip
    assert json.loads(bytes.fromhex(argv[-1])) == {"directory": str(tmp_path)}
    assert unit_argv(tmp_path, USER, "t2v-job")[:3] == ["systemd-run", "--user", "--unit=t2v-job"]


def test_the_clock_set_back_does_not_change_the_order(here: Here) -> None:
    first = here.start(WAITS, "0", needs_gpu=True)
    lock = here.workspace / "jobs/.lock"
    lock.write_text(f"{time.time() + 3600:.6f}\n")  # as if the clock had been an hour ahead until now
    jobs = [here.start(ON_GPU, str(number), needs_gpu=True) for number in range(2)]
    times = [here.row(job)["queued_t"] for job in (first, *jobs)]
    assert times == sorted(times)
    assert len(set(times)) == 3
    assert times[1] > time.time() + 3000
