"""`t2v train --log-with`: the same figures in wandb and trackio, each with the real package and without a network."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from support.engine.engine import job_here
from support.engine.training_set import asked, data_set
from support.hosts.door import EndedHere, through_the_door

from t2v_core.training.trackers.other_tracker import OtherTracker


def trained(workspace: Path, name: str) -> EndedHere:
    return through_the_door(workspace, "train", **asked(max_steps=3, samples=0, log_with=name))


def needs_package(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"needs {name}: pip install {name}")


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The real one, which reads its variables once in a process, and keeps temporary files to that one's end."""
    needs_package("wandb")
    data_set()  # others have it as well
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    import wandb

    wandb.teardown()
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    wandb.teardown()


def losses(ended: EndedHere) -> list[float]:
    assert ended.code == 0, ended.log
    return [event["loss"] for event in ended.of("step")]


def test_wandb_has_the_figures_in_the_folder_of_the_job(tmp_path: Path, wandb: pytest.MonkeyPatch) -> None:
    wandb.setenv("WANDB_MODE", "offline")
    found = losses(trained(tmp_path, "wandb"))
    [written] = tmp_path.glob("jobs/*/wandb/offline-run-*/*.wandb")
    said = written.read_bytes()
    assert len(found) == 3
    assert all(json.dumps(loss).encode() in said for loss in found)
    assert b"learning_rate" in said


def test_trackio_has_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_package("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    found = losses(trained(tmp_path, "trackio"))
    [job] = [path.name for path in (tmp_path / "jobs").iterdir()]
    with sqlite3.connect(next((tmp_path / "trackio").glob("t2v*.db"))) as database:
        rows = database.execute("select step, metrics from metrics where run_name = ? order by step", (job,)).fetchall()
    assert [(step, json.loads(text)["loss"]) for step, text in rows if "loss" in json.loads(text)] == (
        list(enumerate(found, 1))
    )


def test_without_a_login_wandb_begins_no_run_and_no_step_is_taken(tmp_path: Path, wandb: pytest.MonkeyPatch) -> None:
    wandb.setenv("HOME", str(tmp_path))
    ended = trained(tmp_path, "wandb")
    assert (ended.code, ended.of("step")) == (2, [])
    assert ended.error["message"].startswith("wandb begins no run: ")
    assert "WANDB_MODE=offline" in ended.error["hint"]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_one_that_is_not_installed_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("t2v_core.training.trackers.other_tracker.find_spec", lambda _name: None)
    ended = trained(tmp_path, name)
    assert ended.sentence == f"--log-with {name} needs {name}, which is not installed here"
    assert ended.error["hint"].startswith(f"pip install {name} into t2v's environment")


class Breaking(GeneralTracker):  # type: ignore[misc]  # Accelerate has no types
    """Of anybody's making: takes one step, and then no more."""

    name, requires_logging_directory, main_process_only = "breaking", False, False

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []

    @property
    def tracker(self) -> list[Any]:
        return self.taken

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.taken.append(values)

    def log(self, values: dict[str, Any], step: int | None, **_: Any) -> None:
        if step == 2:
            raise ConnectionError("the tracker's server is gone\nand so on")
        self.taken.append((step, values))


def test_a_tracker_that_breaks_is_warned_of_once_and_ends_nothing(tmp_path: Path) -> None:
    job, tracker = job_here(tmp_path), Breaking()
    other = OtherTracker("breaking", Accelerator(cpu=True, log_with=[tracker]), job)
    other.begin({"seed": 7})
    for step in (1, 2, 3):
        other.step(step, {"loss": 0.5})
    other.close()
    assert tracker.taken == [{"seed": 7}, (1, {"loss": 0.5})]
    lines = (job.directory / "events.jsonl").read_text().splitlines()
    assert [line for line in lines if "records nothing more" in line] == lines
    assert "breaking records nothing more of this training: the tracker's server is gone\"" in lines[0]
