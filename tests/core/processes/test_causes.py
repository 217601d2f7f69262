"""Of several processes that ended, the one that was the cause; and what is said of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.engine.engine import job_here

from t2v_core.errors import InvalidRequest, Stopped, WorkFailed
from t2v_core.processes.elastic import Died
from t2v_core.processes.gang import Gang, _error_of, run_gang
from t2v_core.processes.member import Ending, last_words, leave_word


@pytest.fixture
def gang(tmp_path: Path) -> Gang:
    return Gang("train", job_here(tmp_path), 3, 0)


def word(
    rank: int, message: str, code: int = 1, *, is_said: bool = True, is_echo: bool = False, t: float = 1.0
) -> Ending:
    return Ending(rank, message, "", code, is_said, is_echo, "", t)


def test_what_a_process_says_itself_comes_before_what_that_did_to_the_others(gang: Gang) -> None:
    died = [Died(0, 1), Died(1, 1), Died(2, -signal.SIGKILL)]  # the third hung, and was killed by the agent
    words = [word(0, "Connection closed by peer", is_echo=True, is_said=False), word(1, "the disk is full", t=2.0)]
    cause = gang._cause(died, words)
    assert cause is not None
    assert (cause.rank, cause.message, cause.exit_code) == (1, "the disk is full", 1)


def test_a_kill_is_the_cause_of_what_the_others_say_of_it(gang: Gang) -> None:
    died = [Died(0, 1), Died(2, -signal.SIGKILL)]
    words = [word(0, "Connection closed by peer", is_echo=True, is_said=False), word(1, "stopped by SIGTERM", 4)]
    cause = gang._cause(died, words)
    assert cause is not None
    assert (cause.message, cause.exit_code) == ("process 2 of this job was killed (SIGKILL)", 137)
    assert "memory" in cause.hint
    assert not cause.is_said


def test_a_run_that_was_asked_to_end_says_what_its_first_process_says(gang: Gang) -> None:
    said = "stopped by SIGTERM after step 3 of 9; saved checkpoints/checkpoint_step_3"
    cause = gang._cause([], [word(1, "stopped by SIGTERM after step 3 of 9", 4), word(0, said, 4, t=2.0)])
    assert cause is not None
    error = _error_of(cause)
    assert isinstance(error, Stopped)
    assert (error.message, error.exit_code) == (said, 4)


def test_one_that_was_asked_before_it_listened_was_stopped(gang: Gang) -> None:
    with gang.job.stoppable():
        signal.raise_signal(signal.SIGTERM)
        cause = gang._cause([Died(0, -signal.SIGTERM), Died(1, -signal.SIGTERM)], [])
    assert cause is not None
    assert (cause.exit_code, cause.is_on_request) == (4, True)


def test_an_invalid_request_stays_one(gang: Gang) -> None:
    cause = gang._cause([Died(0, 2)], [word(0, "no such data", 2)])
    assert cause is not None
    assert isinstance(_error_of(cause), InvalidRequest)


def test_a_process_that_gave_no_reason_leaves_its_code(gang: Gang) -> None:
    cause = gang._cause([Died(1, 77)], [])
    assert cause is not None
    assert (cause.message, cause.exit_code) == ("process 1 of this job ended with code 77", 77)


def test_last_words_are_read_in_the_order_they_were_written_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2V_GANG", f"1:{tmp_path}")
    full = WorkFailed("the disk is full", "free some space")
    for rank, error, cause in (
        (1, full, full),
        (0, WorkFailed("RuntimeError: gloo"), RuntimeError("[gloo/transport] …")),
    ):
        monkeypatch.setenv("RANK", str(rank))
        leave_word(error, cause, "memory" if rank else "")
    first, second = last_words(tmp_path)
    assert (first.rank, first.hint, first.is_said, first.is_echo, first.alarm) == (
        1,
        "free some space",
        True,
        False,
        "memory",
    )
    assert (second.rank, second.is_said, second.is_echo) == (0, False, True)


def test_more_processes_than_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    job = job_here(tmp_path)
    (job.directory / "spec.json").write_text('{"processes": 4, "device": "cuda"}')
    with pytest.raises(InvalidRequest, match="4 processes need a GPU each, and this machine has 2") as caught:
        run_gang("train", job)
    assert "--processes auto" in caught.value.hint


def test_auto_without_a_gpu_is_this_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    job = job_here(tmp_path)
    (job.directory / "spec.json").write_text('{"processes": "auto"}')
    assert run_gang("preprocess", job) is None
