"""A job outlives whoever started it, is one job however often it is asked for, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.hosts.agent_here import WAITS, Here, is_alive, wait_until
from support.hosts.agent_shared import agent_of_module, here_with_agent
from support.hosts.programs import (
    DEAF,
    DONE,
    ERROR,
    KILLED_LATE,
    ON_GPU,
    SAYS,
    SILENT,
    STOPPED,
    Another,
    another_agent,
    go,
)
from support.machines.memory_group import memory_group

from remote.agent.jobs.rows import job_row
from remote.errors import JobNotFound, LinkLost, Refused

shared, here, another = agent_of_module, here_with_agent, another_agent


# It outlives its client


def close_pipe(here: Here) -> None:
    here.agent.close()


def kill_server(here: Here) -> None:
    channel: Any = here.agent.channel
    os.killpg(channel.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("leave", [close_pipe, kill_server])
def test_a_started_job_outlives_its_client_and_keeps_its_exit_code(
    here: Here, another: Another, leave: Callable[[Here], None]
) -> None:
    first = another()
    job = first.start(WAITS, "42")
    first.at_work(job)
    leave(first)
    assert (here.row(job)["state"], here.row(job)["supervised"]) == ("running", True)
    go(here)
    row = here.end_of(job)
    assert (row["state"], row["code"], row["signal"]) == ("failed", 42, None)
    assert row["reason"] == "it ended with code 42 and gave no reason; its log ends: at work"
    written = json.loads((here.directory(job) / "exit.json").read_text())
    assert written.keys() == {"code", "signal", "reason", "hint", "ended", "is_preempted", "boot_id", "up_s"}


def test_a_job_is_its_own_session_without_terminal_and_its_supervisor_is_nobody_s_child(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    state = here.state(job)
    stat = Path(f"/proc/{state['pid']}/stat").read_text().rpartition(")")[2].split()
    assert (int(stat[2]), int(stat[3]), stat[4]) == (state["pid"], state["pid"], "0")
    supervisor = Path(f"/proc/{state['supervisor']}/stat").read_text().rpartition(")")[2].split()
    channel: Any = here.agent.channel
    assert int(stat[1]) == state["supervisor"]
    assert int(supervisor[1]) not in (channel.process.pid, os.getpid())
    assert int(supervisor[3]) != channel.process.pid


def test_a_signal_is_told_from_an_exit_code(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    os.kill(here.state(job)["pid"], signal.SIGSEGV)
    row = here.end_of(job)
    assert (row["state"], row["code"], row["signal"]) == ("failed", 1, "SIGSEGV")
    assert row["reason"] == "it was ended by SIGSEGV"


def test_somebody_s_sigkill_is_not_taken_for_a_lack_of_memory(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    os.kill(here.state(job)["pid"], signal.SIGKILL)
    row = here.end_of(job)
    assert (row["signal"], row["reason"]) == ("SIGKILL", "it was killed (SIGKILL)")
    assert "recorded no out-of-memory kill" in row["hint"]


def test_a_lack_of_memory_is_told_from_somebody_s_sigkill(another: Another) -> None:
    with memory_group(limit_bytes=80_000_000) as group:
        crowded = another()
        channel: Any = crowded.agent.channel
        (group / "cgroup.procs").write_text(str(channel.process.pid))
        row = crowded.end_of(crowded.start("x = bytearray(400_000_000)"))
        assert (row["signal"], row["reason"]) == ("SIGKILL", "memory ran out: the system killed it (SIGKILL)")
        assert row["hint"] == "try a smaller batch, size or model"
        crowded.agent.close()


def test_a_program_that_cannot_run_is_told_with_its_name(here: Here) -> None:
    job = here.call("start", verb="test", argv=["/no/such/program"])["job"]
    row = here.end_of(job)
    assert (row["code"], row["reason"]) == (127, "cannot start /no/such/program: No such file or directory")
    with pytest.raises(JobNotFound, match="there is no Python /no/such/python on this host"):
        here.call("start", verb="train", python=["/no/such/python"])


# The engine's word counts


@pytest.mark.parametrize(
    ("program", "state", "code", "reason"),
    [
        (DONE, "succeeded", 0, "done"),
        (ERROR, "failed", 2, "no clips"),
        (STOPPED, "stopped", 4, "stopped after step 3"),
        (SILENT, "failed", 1, "it ended with code 0 and gave no reason; its log ends: at work"),
    ],
    ids=["done", "error", "stopped", "silent"],
)
def test_an_engine_is_judged_by_its_events_as_well(
    here: Here, program: str, state: str, code: int, reason: str
) -> None:
    job = here.start_engine(program)
    assert here.wait_for(job, "running")["last_event"]["name"] == "work"
    go(here)
    row = here.end_of(job)
    assert (row["state"], row["code"], row["reason"]) == (state, code, reason)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize(
    ("words", "state", "code", "reason"),
    [
        ("say(kind='done', seconds=1)", "succeeded", 0, "done"),
        ("say(kind='error', message='no clips', hint='', exit_code=2)", "failed", 2, "no clips"),
        ("say(kind='error', message='no clips', exit_code=2); say(kind='step', step=1)", "failed", 1, ""),
    ],
    ids=["done", "error", "an earlier attempt's error"],
)
def test_a_signal_after_the_last_word_changes_nothing(
    here: Here, number: signal.Signals, words: str, state: str, code: int, reason: str
) -> None:
    job = here.start_engine(KILLED_LATE.format(words=words, number=int(number)))
    go(here)
    row = here.end_of(job)
    killed = {signal.SIGKILL: "it was killed (SIGKILL)"}.get(number, f"it was ended by {number.name}")
    assert (row["state"], row["code"], row["reason"]) == (state, code, reason or killed)


def test_a_job_on_a_preempted_machine_says_so(here: Here) -> None:
    job = here.start_engine(STOPPED)
    here.wait_for(job, "running")
    (here.directory(job) / "preempted").touch()
    go(here)
    row = here.end_of(job)
    assert (row["state"], row["reason"]) == ("preempted", "the machine was preempted; stopped after step 3")


# One press, one job


def test_eight_racing_starts_with_one_key_are_one_job(another: Another) -> None:
    agents = [another() for _ in range(8)]
    answers: list[dict[str, Any]] = []
    barrier = threading.Barrier(len(agents))

    def press(here: Here) -> None:
        barrier.wait()
        argv = [sys.executable, "-c", "import os; os.open('ran', os.O_CREAT | os.O_EXCL)"]
        answers.append(here.call("start", verb="test", argv=argv, key="pressed once"))

    threads = [threading.Thread(target=press, args=(here,)) for here in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["job"] for answer in answers}) == 1
    assert sorted(answer["is_new"] for answer in answers) == [False] * 7 + [True]
    assert agents[0].end_of(answers[0]["job"])["code"] == 0
    assert len(agents[0].call("status")["jobs"]) == 1
    again = agents[1].call("start", verb="test", argv=["other"], key="pressed once")
    assert again == {"job": answers[0]["job"], "is_new": False, "state": "succeeded"}


def test_a_start_that_was_cut_off_goes_on_as_the_same_job(here: Here) -> None:
    """As a server leaves it that was killed between writing down the key and writing down the job."""
    job = here.start("print(1)", key="cut")
    here.end_of(job)
    state = here.state(job)
    wait_until(lambda: not is_alive(state["supervisor"]))
    for file in here.directory(job).iterdir():
        file.unlink()
    assert here.start("print(2)", key="cut") == job
    assert here.end_of(job)["code"] == 0
    assert (here.directory(job) / "log").read_text() == "2\n"


def test_a_job_is_started_once_however_many_supervisors_are_sent(here: Here, another: Another) -> None:
    job = here.start("open('ran', 'a').write('x'); import time; time.sleep(1)")
    for other in [another() for _ in range(3)]:
        for _ in range(5):
            other.call("status")
    assert here.end_of(job)["code"] == 0
    assert (here.workspace / "ran").read_text() == "x"


# The queue


def test_jobs_on_the_gpu_run_one_at_a_time_in_the_order_they_came(here: Here) -> None:
    go_first = here.start(WAITS, "0", needs_gpu=True)
    jobs = [here.start(ON_GPU, str(number), needs_gpu=True) for number in range(3)]
    beside = here.start("print('needs none')")
    assert here.end_of(beside)["state"] == "succeeded"
    rows = {row["job"]: row for row in here.call("status")["jobs"]}
    assert [rows[job]["state"] for job in jobs] == ["queued"] * 3
    assert [rows[job]["place_in_queue"] for job in (go_first, *jobs)] == [None, 1, 2, 3]
    assert not (here.workspace / "gpu").exists()
    go(here)
    assert [here.end_of(job)["state"] for job in jobs] == ["succeeded"] * 3
    expected = [f"{word} {number}" for number in range(3) for word in ("begin", "end")]
    assert (here.workspace / "gpu").read_text().splitlines() == expected


def test_a_job_whose_folder_somebody_removes_does_not_keep_its_supervisor(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    state = here.state(job)
    shutil.rmtree(here.directory(job))
    os.kill(state["pid"], signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: not is_alive(state["supervisor"]))
    assert time.monotonic() - began < 30  # a full disk is waited for, a minute; a folder is not


NO_JOBS = {"long": "9" * 300, "up": "../..", "nul": "a\0b", "none": "", "circle": "B", "own": "A"}


@pytest.mark.parametrize("after", NO_JOBS.values(), ids=NO_JOBS)
def test_a_damaged_file_that_names_no_job_to_wait_for_hinders_no_look(tmp_path: Path, after: str) -> None:
    names = {"A": "20270115-080000-train-aaaa", "B": "20270115-080001-train-bbbb"}
    for name, waits in ((names["A"], after), (names["B"], names["A"])):
        (tmp_path / name).mkdir()
        request = {"queued_t": 1.0, "needs_gpu": True, "after": names.get(waits, waits), "verb": "train"}
        (tmp_path / name / "request.json").write_text(json.dumps(request))
    a, b = (tmp_path / name for name in names.values())
    assert [job_row(one)["state"] for one in (a, b)] == ["queued", "queued"]
    if after not in names:
        assert [job_row(one)["place_in_queue"] for one in (a, b)] == [1, 2]


def test_after_waits_for_success_and_ends_without_it(here: Here) -> None:
    first = here.start(WAITS, "0")
    then = here.start("open('then', 'w')", after=first)
    failing = here.start(WAITS, "3")
    never = here.start("open('never', 'w')", after=failing)
    assert (here.row(then)["state"], here.row(never)["state"]) == ("queued", "queued")
    go(here)
    assert here.end_of(then)["state"] == "succeeded"
    row = here.end_of(never)
    assert (row["state"], row["reason"]) == ("stopped", f"not started: job {failing} did not succeed (failed)")
    assert not (here.workspace / "never").exists()
    with pytest.raises(JobNotFound, match="no job 'nobody' to wait for"):
        here.start("pass", after="nobody")


def test_a_queued_job_can_be_stopped_and_lets_the_next_one_pass(here: Here) -> None:
    first = here.start(WAITS, "0", needs_gpu=True)
    second = here.start(ON_GPU, "second", needs_gpu=True)
    third = here.start(ON_GPU, "third", needs_gpu=True)
    assert here.call("stop", job=second, grace_s=30)["how"] == "stop file"
    assert here.end_of(second)["reason"] == "stopped before it began"
    go(here)
    assert here.end_of(third)["state"] == here.end_of(first)["state"] == "succeeded"
    assert "second" not in (here.workspace / "gpu").read_text()


# Stop leaves nothing


def test_stop_leaves_nothing_of_a_job_that_hides_and_is_deaf(here: Here) -> None:
    job = here.start(DEAF)
    here.at_work(job)
    names = ("main", "child", "daemon", "nameless")
    wait_until(lambda: all((here.workspace / name).exists() for name in names))
    pids = [int((here.workspace / name).read_text()) for name in names]
    assert all(is_alive(pid) for pid in pids)
    answer = here.call("stop", job=job, grace_s=0.3)
    assert (answer["state"], answer["left"], answer["gpu_left"], answer["how"]) == ("stopped", [], [], "SIGKILL")
    assert [pid for pid in pids if is_alive(pid)] == []
    row = here.row(job)
    assert (row["code"], row["signal"], row["reason"]) == (4, "SIGKILL", "stopped: ended by SIGKILL")


def test_strays_of_a_job_that_ended_by_itself_are_ended_too(here: Here) -> None:
    until_there = "while not (os.path.exists('daemon') and os.path.exists('nameless')): time.sleep(0.01)\n"
    job = here.start(DEAF.replace("time.sleep(600)\n", until_there).replace("IGN", "DFL"))
    assert here.end_of(job)["code"] == 0
    assert [pid for name in ("daemon", "nameless") if is_alive(pid := int((here.workspace / name).read_text()))] == []


def test_an_engine_that_listens_is_asked_by_the_file_alone(here: Here) -> None:
    job = here.start_engine(STOPPED)
    here.wait_for(job, "running")
    answer = here.call("stop", job=job, grace_s=30)
    assert (answer["state"], answer["how"], answer["left"]) == ("stopped", "stop file", [])
    assert here.row(job)["reason"] == "stopped after step 3"
    assert here.call("stop", job=job)["how"] == "had ended"
    with pytest.raises(Refused, match=r"has ended already \(stopped\)"):
        here.call("request", job=job, what="save")


def test_a_stop_is_carried_through_when_the_link_is_lost_meanwhile(here: Here, another: Another) -> None:
    first = another()
    job = first.start_engine(
        SAYS.format(event="kind='step'", code=0).replace('.exists() and not (directory / "stop")', "")
    )
    first.wait_for(job, "running")
    asking = threading.Thread(target=ask_stop, args=(first, job))
    asking.start()
    wait_until((first.directory(job) / "stop").exists)
    kill_server(first)
    asking.join()
    assert here.end_of(job)["state"] == "stopped"


def ask_stop(here: Here, job: str) -> None:
    with pytest.raises(LinkLost):
        here.call("stop", job=job, grace_s=1)


def test_requests_are_files_and_resume_takes_pause_away(here: Here) -> None:
    job = here.start(WAITS, "0")
    here.at_work(job)
    for what in ("save", "pause"):
        here.call("request", job=job, what=what)
        assert (here.directory(job) / what).exists()
    here.call("request", job=job, what="resume")
    assert not (here.directory(job) / "pause").exists()
    with pytest.raises(Refused, match="'dance' is not one of stop, save, pause, resume"):
        here.call("request", job=job, what="dance")


def test_a_job_that_is_to_run_beside_others_waits_for_no_turn(here: Here) -> None:
    first = here.start(WAITS, "0", needs_gpu=True)
    here.at_work(first)
    second = here.start("print('beside')", needs_gpu=True)
    assert here.row(second)["place_in_queue"] == 1
    here.call("request", job=second, what="beside")
    assert here.end_of(second)["state"] == "succeeded"
    assert here.row(first)["state"] == "running"
    with pytest.raises(Refused, match="has begun already and waits for nothing"):
        here.call("request", job=first, what="beside")
    (here.workspace / "go").touch()
    assert here.end_of(first)["state"] == "succeeded"
