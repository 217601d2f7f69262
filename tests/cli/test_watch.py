"""`t2v watch`: a job's events as they come, one per line, for scripts and agents."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from remote.jobs.foreground import JobHandle, Run
from t2v_core.events import AlarmEvent, EventWriter, StageEvent, StepEvent
from t2v_tui.cli.main import main

JOB = "20260101-000000-train-3f2a"


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """A training that said a few things and failed."""
    job = JobHandle(tmp_path / "jobs" / JOB, "train")
    job.directory.mkdir(parents=True)
    (job.directory / "spec.json").write_text("{}")
    events = EventWriter(job.events)
    events.emit(StageEvent("train", "tiny", t=1.5))
    events.emit(StepEvent(1, 9, loss=0.5, t=2.5))
    events.emit(AlarmEvent("loss-spike", "the loss leapt to 9", clips=["video7"], step=1, t=3.5))
    events.close()
    run = Run(job, [sys.executable, "-c", "raise SystemExit(3)"])
    with run:
        run.start()
        list(run)
    return tmp_path


def lines(workspace: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["--workspace", str(workspace), "watch", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_each_line_is_an_event_and_the_last_is_how_it_ended(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = lines(ended, capsys, "3f2a", "--json")
    assert code == 3
    told = [json.loads(line) for line in said]
    assert [one["kind"] for one in told] == ["stage", "step", "alarm", "end"]
    assert told[2] == {
        "t": 3.5, "kind": "alarm", "name": "loss-spike", "message": "the loss leapt to 9", "hint": "", "step": 1,
        "cause": "", "clips": ["video7"],
    }  # fmt: skip
    assert (told[3]["job"], told[3]["state"], told[3]["code"]) == (JOB, "failed", 3)


def test_only_what_is_asked_for_is_written_in_words_too(ended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, (alarm, end) = lines(ended, capsys, "--only", "alarm, end")
    assert alarm.endswith("WARN loss-spike: the loss leapt to 9  clips video7")
    assert end.startswith("✗ failed it ended with code 3")


def test_a_kind_that_there_is_not_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--workspace", str(tmp_path), "watch", "--only", "alarms"]) == 2
    said = capsys.readouterr().err
    assert "error: --only: there is no kind alarms\nhint:  there are: stage, progress, step," in said
