"""What a workspace has written down of a model: how its training went, its scores, videos that it made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.disk.files import read_json
from t2v_core.events import CheckpointEvent, ScoreEvent, StepEvent, read_events
from t2v_core.training.callbacks.samples import samples_folder
from t2v_core.workspace import Workspace

MOST_SAMPLES = 4


@dataclass(frozen=True)
class Point:
    """One step. held_out_loss: where it was measured"""

    step: int
    loss: float | None = None
    held_out_loss: float | None = None


@dataclass(frozen=True)
class Sample:
    """A video that the model made, and what was asked for."""

    video: Path
    prompt: str
    seed: int | None


@dataclass(frozen=True)
class Records:
    """curve: by step; scores: as the files of `t2v evaluate` have them; samples: the newest"""

    curve: tuple[Point, ...]
    scores: tuple[dict[str, Any], ...]
    samples: tuple[Sample, ...]


def records_of(checkpoint: Checkpoint, workspace: Workspace) -> Records:
    """Collect what there is of a checkpoint; what cannot be read, or was removed, is not there."""
    return Records(_curve(checkpoint, workspace), _scores(checkpoint, workspace), _samples(checkpoint, workspace))


def _curve(checkpoint: Checkpoint, workspace: Workspace) -> tuple[Point, ...]:
    """Of all jobs that trained it, one after the other; a step that was taken again counts as it was the last time."""
    losses: dict[int, float] = {}
    held_out: dict[int, float] = {}
    for events in _jobs_of(checkpoint, workspace):
        for event in events:
            if isinstance(event, StepEvent) and event.loss is not None:
                losses[event.step] = event.loss
            if isinstance(event, ScoreEvent) and event.name == "held_out_loss":
                held_out |= {event.step: event.value} if event.step and event.value is not None else {}
    steps = sorted({*losses, *held_out})
    return tuple(Point(step, losses.get(step), held_out.get(step)) for step in steps if step <= checkpoint.step)


def _jobs_of(checkpoint: Checkpoint, workspace: Workspace) -> Iterator[list[Any]]:
    """The events of each job that wrote checkpoints where this one lies, or says that it is its own; oldest first."""
    folder, own = checkpoint.path.absolute().parent, checkpoint.info.get("job")
    for path in sorted(workspace.jobs.glob("*-train-*/events.jsonl")):
        events = [event for event in read_events(path) if isinstance(event, StepEvent | ScoreEvent | CheckpointEvent)]
        saved = (event.path for event in events if isinstance(event, CheckpointEvent))
        if path.parent.name == own or any(workspace.resolve(Path(one)).parent == folder for one in saved):
            yield events


def _scores(checkpoint: Checkpoint, workspace: Workspace) -> tuple[dict[str, Any], ...]:
    found = (_table(path) for path in sorted((workspace.outputs / "scores").glob("*.json")))
    return tuple(one for one in found if _is_of(one.get("checkpoint"), checkpoint, workspace))


def _samples(checkpoint: Checkpoint, workspace: Workspace) -> tuple[Sample, ...]:
    """Those of its training, else what was generated with it since."""
    folders = (samples_folder(workspace, checkpoint.path), workspace.outputs)
    for folder in folders:
        found = [one for path in _newest(folder) if (one := _sample(path, checkpoint, workspace)) is not None]
        if found:
            return tuple(found[:MOST_SAMPLES])
    return ()


def _newest(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)


def _sample(settings: Path, checkpoint: Checkpoint, workspace: Workspace) -> Sample | None:
    said = _table(settings)
    made_by, spec = said.get("checkpoint"), said.get("spec")
    if not isinstance(made_by, dict) or not isinstance(spec, dict) or said.get("verb") != "generate":
        return None
    video = next((path for path in settings.parent.glob(f"{settings.stem}.*") if path != settings), None)
    if video is None or not _is_of(made_by.get("path"), checkpoint, workspace):
        return None
    seed = spec.get("seed")
    return Sample(video, str(spec.get("prompt", "")), seed if isinstance(seed, int) else None)


def _is_of(path: object, checkpoint: Checkpoint, workspace: Workspace) -> bool:
    return isinstance(path, str) and workspace.resolve(Path(path)) == checkpoint.path.absolute()


def _table(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
