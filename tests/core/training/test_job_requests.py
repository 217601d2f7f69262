"""Files in a job's directory are requests: `pause` and `stop` to every verb, `save` to training; answered in a step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.engine.engine import events_of, job_here
from support.engine.small_checkpoint import save_small_checkpoint
from support.engine.training_set import STEPS_AN_EPOCH, asked, differing
from support.engine.warm_engine import begin, run_warm
from support.hosts.door import through_the_door
from test_training_processes import begin_two

from t2v_core import run_job as door_of_the_engine
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.shapes.shapes_set import make_set
from t2v_core.job import Job
from t2v_core.specs import ShapesSpec

DEADLINE_S = 120.0
# Enough looks of a paused job at its files to show that it does nothing else.
PAUSE_S = 0.7


class PausesAtThirdQuestion(Job):
    """A job that is asked to pause when it has asked for the third time whether it should go on."""

    questions = 0

    def check_stop(self) -> None:
        self.questions += 1
        if self.questions == 3:
            (self.directory / "pause").touch()
        super().check_stop()


def work_of(root: Path) -> dict[str, dict[str, Any]]:
    """Small work for each verb that a model or a data set takes part in."""
    make_set(ShapesSpec(clips=6, test_clips=6), job_here(root))
    save_small_checkpoint(root)
    return {
        "preprocess": {"data": "data/shapes", "device": "cpu", "vae": "embedded", "text_encoder": "embedded"},
        "generate": {"prompt": "a red circle", "steps": 6, "device": "cpu", "seed": 1},
        "evaluate": {"data": "data/shapes", "prompts": 6, "seeds": 1, "steps": 6, "device": "cpu"},
        "refine": {"input": "data/shapes/videos/video0.mp4", "output": "o.mp4", "prompt": "a", "device": "cpu"},
        "add-noise": {"input": "data/shapes/videos/video0.mp4", "output": "n.mp4"},
        "shapes": {"clips": 6, "test_clips": 6, "data": "data/more"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    root = tmp_path_factory.mktemp("work")
    return root, work_of(root)


def when_paused(root: Path, before: set[Path], act: Callable[[Path], None], quiet: list[bool]) -> None:
    """Wait for the new job to pause, look whether it does nothing more, and then act on its directory."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for directory in set((root / "jobs").iterdir()) - before:
            said = [event for event in events_of(directory) if event.get("name") == "paused"]
            if said:
                count = len(events_of(directory))
                time.sleep(PAUSE_S)
                quiet.append(len(events_of(directory)) == count)
                act(directory)
                return
        time.sleep(0.01)


@pytest.mark.parametrize("then", ["stop", "resume"])  # in this order: what was preprocessed is not done again
@pytest.mark.parametrize("verb", ["preprocess", "generate", "evaluate", "refine", "add-noise", "shapes"])
def test_a_paused_job_waits_and_then_goes_on_or_stops(
    verb: str, then: str, work: tuple[Path, dict[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, specs = work
    monkeypatch.setattr(door_of_the_engine, "Job", PausesAtThirdQuestion)
    quiet: list[bool] = []

    def act(directory: Path) -> None:
        (directory / "stop").touch() if then == "stop" else (directory / "pause").unlink()

    watching = threading.Thread(target=when_paused, args=(root, set((root / "jobs").iterdir()), act, quiet))
    watching.start()
    ended = through_the_door(root, verb, **specs[verb])
    watching.join()
    assert quiet == [True]
    stages = [event["name"] for event in ended.of("stage")]
    if then == "stop":
        assert (ended.code, ended.error["exit_code"], "resumed" in stages) == (4, 4, False)
    else:
        assert (ended.code, stages.count("resumed")) == (0, 1)


def test_save_makes_a_checkpoint_of_the_step_and_changes_nothing_else(tmp_path: Path) -> None:
    child = begin(tmp_path, "train", **asked(epochs=40, checkpoint_every=40, keep_last=9, lr_schedule="constant"))
    child.wait_for(lambda event: event.get("step") == 2)
    (child.directory / "save").touch()
    saved = child.wait_for(lambda event: event["kind"] == "checkpoint")
    later = child.wait_for(lambda event: event["kind"] == "step" and event["step"] > saved["step"])
    assert not (child.directory / "save").exists()
    (child.directory / "stop").touch()
    ended = child.end()
    assert (saved["reason"], ended.code) == ("asked", 4)
    assert open_checkpoint(tmp_path / saved["path"]).step == saved["step"] < later["step"]
    assert [event["reason"] for event in ended.of("checkpoint")] == ["asked", "stopped"]

    epochs = ended.of("step")[-1]["step"] // STEPS_AN_EPOCH + 1
    run_warm(tmp_path, "train", resume=True, epochs=epochs)
    whole = asked(epochs=epochs, checkpoint_every=40, checkpoints="whole", lr_schedule="constant")
    run_warm(tmp_path, "train", **whole)
    name = f"checkpoint_epoch_{epochs}"
    assert differing(tmp_path / "checkpoints" / name, tmp_path / "whole" / name) == []


def test_a_paused_training_takes_no_step_until_it_may(tmp_path: Path) -> None:
    child = begin(tmp_path, "train", **asked(epochs=40))
    child.wait_for(lambda event: event.get("step") == 2)
    (child.directory / "pause").touch()
    child.wait_for(lambda event: event.get("name") == "paused")
    before = len(events_of(child.directory))
    time.sleep(PAUSE_S)
    assert len(events_of(child.directory)) == before
    (child.directory / "pause").unlink()
    child.wait_for(lambda event: event.get("name") == "resumed")
    (child.directory / "stop").touch()
    assert child.end().code == 4


def test_two_processes_pause_save_and_stop_together(tmp_path: Path) -> None:
    first, second = begin_two(tmp_path, **asked(epochs=200, keep_last=9))
    first.wait_for(lambda event: event.get("step") == 2)
    (first.directory / "pause").touch()
    first.wait_for(lambda event: event.get("name") == "paused")
    (first.directory / "pause").unlink()
    first.wait_for(lambda event: event.get("name") == "resumed")
    (first.directory / "save").touch()
    saved = first.wait_for(lambda event: event.get("reason") == "asked")
    first.wait_for(lambda event: event["kind"] == "step" and event["step"] > saved["step"])
    (first.directory / "pause").touch()
    first.wait_for(lambda event: event.get("name") == "paused" and not (first.directory / "save").exists())
    (first.directory / "stop").touch()
    assert (first.end().code, second.end().code) == (4, 4), first.log
    assert open_checkpoint(tmp_path / saved["path"]).step == saved["step"]
