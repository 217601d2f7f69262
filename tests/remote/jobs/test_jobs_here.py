"""A job on this machine: what it leaves behind, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.hosts.agent_here import DEADLINE_S, is_alive, wait_until
from support.machines.memory_group import memory_group
from support.warm.python import warm

from remote.agent.base.processes import boot_id, up_s
from remote.agent.jobs.rows import job_row
from remote.jobs.foreground import JobHandle, Run, create, run_here
from t2v_core.specs import make_spec
from t2v_core.workspace import Workspace

# An engine that does nothing: it reports, and answers requests between steps with the engine's own Job.
ENGINE = """
import sys, time
from pathlib import Path
from t2v_core.errors import Stopped
from t2v_core.events import CheckpointEvent, ErrorEvent, EventWriter
from t2v_core.job import Job
from t2v_core.workspace import Workspace

directory = Path(sys.argv[1])
events = EventWriter(directory / "events.jsonl")
job = Job(directory, Workspace.of_job(directory), events)
try:
    with job.stoppable():
        events.stage("work")
        print("at work", flush=True)
        while True:
            job.check_stop()
            time.sleep(0.01)
except Stopped as error:
    events.emit(CheckpointEvent("checkpoints/checkpoint_epoch_3", 3))
    events.emit(ErrorEvent(error.message, error.hint, error.exit_code))
    sys.exit(error.exit_code)
"""

# One that is deaf to requests, with a helper in its group.
DEAF = """
import signal, subprocess, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
helper = subprocess.Popen(["sleep", "600"])
directory = Path(sys.argv[1])
(directory / "helper").write_text(str(helper.pid))
(directory / "events.jsonl").write_text('{"t": 1, "kind": "stage", "name": "work"}\\n')
helper.wait()
"""

# What `t2v` does around a run, with the program of the test in the engine's place.
COMMAND_LINE = """
import sys
from pathlib import Path
from remote.jobs.foreground import JobHandle, run_here
from t2v_tui.cli.narrate import PlainNarrator
from t2v_tui.cli.engine.run import command_to_go_on, follow, tell_failure

job = JobHandle(Path(sys.argv[1]), "train")
teller = PlainNarrator(sys.stderr)
followed = follow(run_here(job, argv=[sys.executable, "-c", sys.argv[2], sys.argv[1]]), teller)
tell_failure(followed, teller, command_to_go_on("train", ["train", "--preset", "tiny"], followed.checkpoints))
sys.exit(followed.exit.code)
"""


@pytest.fixture
def job(tmp_path: Path) -> JobHandle:
    return create(Workspace(tmp_path), "add-noise", make_spec("add-noise", {"input": "no.mp4", "output": "o.mp4"}))


def running(job: JobHandle, program: str) -> Run:
    return run_here(job, argv=[sys.executable, "-c", program, str(job.directory)])


def exit_of(job: JobHandle) -> dict[str, object]:
    written = json.loads((job.directory / "exit.json").read_text())
    assert isinstance(written, dict)
    assert 0 <= up_s() - written.pop("up_s") < DEADLINE_S
    assert written.pop("boot_id") == boot_id()
    return written


def test_the_real_door_answers_a_wrong_spec_with_code_2(job: JobHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", warm())
    (job.directory / "spec.json").write_text('{"input": "no.mp4", "outptu": "o.mp4"}')
    with run_here(job) as run:
        run.start()
        events = list(run)
    assert events[-1].kind == "error"
    assert run.exit is not None
    assert run.exit.code == exit_of(job)["code"] == 2
    assert run.exit.reason == "output is missing"
    state = json.loads((job.directory / "state.json").read_text())
    assert state["argv"][1:] == ["-m", "t2v_core", "add-noise", str(job.directory)]
    assert state["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert abs(time.time() - state["started"]) < DEADLINE_S


def test_an_interrupted_child_ends_as_it_wishes(job: JobHandle) -> None:
    with running(job, ENGINE) as run:
        run.start()
        for event in run:
            if event.kind == "stage":
                run.interrupt()
    assert exit_of(job) | {"ended": 0} == {"code": 130, "signal": None, "reason": "interrupted", "hint": "", "ended": 0}
    assert job.log.read_text() == "at work\n"


def test_a_second_interrupt_kills_the_whole_group(job: JobHandle) -> None:
    with running(job, DEAF) as run:
        run.start()
        for _ in run:
            run.interrupt()
            run.interrupt()
    helper = int((job.directory / "helper").read_text())
    wait_until(lambda: not is_alive(helper))
    assert (exit_of(job)["code"], exit_of(job)["signal"]) == (130, "SIGKILL")


def test_a_child_killed_from_outside_is_reported_as_such(job: JobHandle) -> None:
    with running(job, ENGINE) as run:
        run.start()
        for event in run:
            if event.kind == "stage":
                os.kill(run.job_pid, signal.SIGKILL)
    assert (exit_of(job)["code"], exit_of(job)["signal"]) == (1, "SIGKILL")
    assert exit_of(job)["reason"] == "it was killed (SIGKILL)"
    assert "memory" in str(exit_of(job)["hint"])


def test_a_child_that_took_too_much_memory_is_told_from_one_that_was_killed(job: JobHandle) -> None:
    with memory_group(limit_bytes=160_000_000) as group:
        cli = start_command_line(job, "x = bytearray(600_000_000)", joins=group / "cgroup.procs")
        _, said = cli.communicate(timeout=DEADLINE_S)
    assert (cli.returncode, exit_of(job)["signal"]) == (1, "SIGKILL")
    assert "alarm:   memory: memory ran out: the system killed it (SIGKILL)\n" in said
    assert "error: memory ran out: the system killed it (SIGKILL)\n" in said
    assert "hint:  try a smaller batch, size or model\n" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_after_the_last_word_changes_nothing(job: JobHandle, number: signal.Signals) -> None:
    done, error, step = '"kind": "done"', '"kind": "error", "message": "no clips", "exit_code": 2', '"kind": "step"'
    for words, code, reason in (((done,), 0, "done"), ((error,), 2, "no clips"), ((error, step), 1, "it was ")):
        job.events.unlink(missing_ok=True)
        lines = "".join(f'{{"t": 1, {word}}}\n' for word in words)
        program = (
            f"import os, sys; open(sys.argv[1] + '/events.jsonl', 'w').write({lines!r}); os.kill(os.getpid(), {number})"
        )
        with running(job, program) as run:
            run.start()
            list(run)
        assert exit_of(job)["code"] == code
        assert str(exit_of(job)["reason"]).startswith(reason)


def test_a_child_that_ends_without_a_word_is_a_failure_with_its_last_line(job: JobHandle) -> None:
    for program, code in (("print('odd'); raise SystemExit(3)", 3), ("print('odd')", 1)):
        with running(job, program) as run:
            run.start()
            assert list(run) == []
        assert exit_of(job)["code"] == code
        assert "its log ends: odd" in str(exit_of(job)["reason"])


def test_leaving_a_run_early_ends_the_child(job: JobHandle) -> None:
    with running(job, ENGINE) as run:
        run.start()
        next(iter(run))
        pid = run.job_pid
    assert not is_alive(pid)
    assert exit_of(job)["code"] == 4


def test_a_child_that_becomes_another_program_is_told_as_at_work(job: JobHandle) -> None:
    program = f"open({str(job.directory / 'at-work')!r}, 'w'); import time; time.sleep(600)"
    with run_here(job, argv=["nice", "-n", "19", sys.executable, "-c", program]) as run:
        run.start()
        wait_until((job.directory / "at-work").exists)
        assert job_row(job.directory)["state"] == "starting"  # it has said nothing yet


@pytest.mark.parametrize("ahead_s", [-3600.0, 3600.0], ids=["begun an hour ago", "the clock was set back"])
def test_a_job_that_never_got_beyond_its_folder_is_on_its_way_for_a_moment_only(job: JobHandle, ahead_s: float) -> None:
    assert job_row(job.directory)["state"] == "starting"
    then_t = time.time() + ahead_s
    os.utime(job.directory, (then_t, then_t))
    assert job_row(job.directory)["state"] == "lost"


@pytest.mark.parametrize("name", ["events.jsonl", "log"])
def test_a_pipe_in_the_place_of_a_job_s_file_keeps_nobody_waiting(job: JobHandle, name: str) -> None:
    for ended in (False, True):
        (job.directory / name).unlink(missing_ok=True)
        os.mkfifo(job.directory / name)
        (job.directory / "state.json").write_text('{"pid": 1, "boot_id": "another"}')
        if ended:
            (job.directory / "exit.json").write_text('{"code": 0, "reason": "done"}')
        assert job_row(job.directory)["state"] == ("succeeded" if ended else "lost")


def test_an_interpreter_that_is_not_there_is_one_sentence(job: JobHandle) -> None:
    with pytest.raises(Exception, match="cannot start /no/such/python: No such file"):
        run_here(job, argv=["/no/such/python"]).start()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 4), (signal.SIGHUP, 4)], ids=str)
def test_the_command_line_passes_signals_on_and_returns_the_child_s_code(
    job: JobHandle, number: signal.Signals, code: int
) -> None:
    cli = start_command_line(job, ENGINE)
    wait_until(lambda: "at work" in (job.log.read_text() if job.log.exists() else ""))
    cli.send_signal(number)
    _, said = cli.communicate(timeout=DEADLINE_S)
    assert cli.returncode == exit_of(job)["code"] == code
    assert "Traceback" not in said
    if number is not signal.SIGHUP:  # then nobody reads any more
        assert "stopping after this step" in said
        assert "kept:    checkpoints/checkpoint_epoch_3\n" in said
        assert "go on:   t2v train --preset tiny --resume\n" in said


def test_a_second_ctrl_c_at_the_command_line_ends_a_deaf_child_at_once(job: JobHandle) -> None:
    cli = start_command_line(job, DEAF)
    wait_until((job.directory / "events.jsonl").exists)
    cli.send_signal(signal.SIGINT)
    assert cli.stderr is not None
    while "stopping after this step" not in cli.stderr.readline():
        assert cli.poll() is None
    cli.send_signal(signal.SIGINT)
    assert cli.wait(timeout=DEADLINE_S) == 130
    wait_until(lambda: not is_alive(int((job.directory / "helper").read_text())))
    cli.stderr.close()


def start_command_line(job: JobHandle, program: str, joins: Path = Path(os.devnull)) -> "subprocess.Popen[str]":
    """What `t2v` does around a run.

    joins: the file by which it joins a group of processes, before it does anything
    """
    argv = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(joins)]
    argv += [sys.executable, "-c", COMMAND_LINE, str(job.directory), program]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=job.directory)
