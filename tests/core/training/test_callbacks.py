"""What training does beside its steps is a list of callbacks: each is called at its moments, a new one is one class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import events_of, job_here
from support.engine.training_set import make_run

from t2v_core.checkpoints.checkpoints import Checkpoint, list_checkpoints
from t2v_core.errors import Stopped, WorkFailed
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.callbacks.order import training_callbacks
from t2v_core.training.callbacks.saving import Saving
from t2v_core.training.trainer import Trainer


class Notes(Callback):
    """Writes down each moment, with the steps done by then; raises `error` before the step after `raise_after`."""

    def __init__(self, error: Exception | None = None, raise_after: int = 0) -> None:
        self.moments: list[Any] = []
        self.error, self.raise_after = error, raise_after

    def on_start(self, trainer: Trainer) -> None:
        self.moments.append(("start", trainer.run.step))

    def on_step_start(self, trainer: Trainer) -> None:
        if self.error is not None and trainer.run.step == self.raise_after:
            raise self.error

    def on_step_end(self, trainer: Trainer) -> None:
        self.moments.append(("step", trainer.run.step))

    def on_checkpoint(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        self.moments.append(("checkpoint", checkpoint.step))

    def on_end(self, trainer: Trainer) -> None:
        self.moments.append(("end", trainer.run.step))

    def on_stop(self, trainer: Trainer, stopped: Stopped) -> Stopped:
        self.moments.append(("stop", trainer.run.step))
        return Stopped(f"{stopped.message}, and noted")

    def on_failure(self, trainer: Trainer) -> None:
        self.moments.append(("failure", trainer.run.step))


def test_each_moment_is_told_once_in_its_order(tmp_path: Path) -> None:
    notes = Notes()
    Trainer(make_run(tmp_path, max_steps=2), job_here(tmp_path), [Saving(), notes]).train()
    assert notes.moments == [("start", 0), ("step", 1), ("step", 2), ("checkpoint", 2), ("end", 2)]


def test_a_trainer_without_callbacks_trains_and_does_nothing_else(tmp_path: Path) -> None:
    run, job = make_run(tmp_path, max_steps=2), job_here(tmp_path)
    before = [p.detach().clone() for p in run.plain_model.parameters()]
    assert Trainer(run, job).train().steps == 2
    assert any(not p.equal(was) for p, was in zip(run.plain_model.parameters(), before, strict=True))
    assert [event["kind"] for event in events_of(job.directory)] == ["stage"]
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_one_more_callback_changes_no_step(tmp_path: Path) -> None:
    losses = []
    for name, more in (("plain", []), ("noted", [Notes()])):
        job = job_here(tmp_path / name)
        Trainer(make_run(tmp_path / name, max_steps=3), job, training_callbacks() + more).train()
        losses.append([event["loss"] for event in events_of(job.directory) if event["kind"] == "step"])
    assert losses[0] == losses[1]


def test_a_callback_that_stops_the_run_ends_it_with_what_the_others_say(tmp_path: Path) -> None:
    notes = Notes(Stopped("enough"), raise_after=2)
    with pytest.raises(Stopped, match=r"^enough after step 2 of 44; saved checkpoints/checkpoint_step_2, and noted$"):
        Trainer(make_run(tmp_path), job_here(tmp_path), [Saving(), notes]).train()
    assert notes.moments[-1] == ("stop", 2)
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path / "checkpoints")] == [2]


def test_a_callback_that_fails_ends_the_run_and_the_checkpoint_before_it_is_whole(tmp_path: Path) -> None:
    job, notes = job_here(tmp_path), Notes(WorkFailed("no more"), raise_after=11)
    with pytest.raises(WorkFailed, match="no more"):
        Trainer(make_run(tmp_path), job, [notes, Saving()]).train()
    assert notes.moments[-1] == ("failure", 11)
    assert [event["kind"] for event in events_of(job.directory)] == ["stage", "checkpoint"]
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path / "checkpoints")] == [11]
