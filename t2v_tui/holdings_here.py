"""Reading what lies in the workspace here. Blocks for as long as the disk takes: workers call it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from t2v_core.files import MANIFEST, STAGING, incompleteness
from t2v_core.workspace import Workspace
from t2v_tui.holdings import (
    VIDEO_SUFFIXES,
    CheckpointView,
    VideoView,
    info_of_checkpoint,
    info_of_video,
    is_checkpoint,
)

TRAINER = "trainer.json"


def read_json(path: Path) -> Mapping[str, Any]:
    """What is no table of JSON is as good as not there."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def checkpoints_here(workspace: Workspace) -> tuple[CheckpointView, ...]:
    """Every checkpoint in `checkpoints/` and in the folders there that runs have of their own, complete or not."""
    found: list[CheckpointView] = []
    for path in _folders(workspace.checkpoints):
        own = _folders(path)
        if own and not is_checkpoint(path.name):
            found += [_checkpoint(one, f"{path.name}/{one.name}") for one in own]
        else:
            found.append(_checkpoint(path, path.name))
    return tuple(found)


def _folders(path: Path) -> list[Path]:
    return sorted(one for one in path.glob("*") if one.is_dir() and not one.name.startswith("."))


def _checkpoint(path: Path, name: str) -> CheckpointView:
    files = tuple(sorted((file.name, file.stat().st_size) for file in path.glob("*") if file.is_file()))
    kept = tuple((name, size) for name, size in files if not name.startswith(STAGING))
    changed = path / MANIFEST if (path / MANIFEST).is_file() else path
    view = CheckpointView(
        name,
        sum(size for _, size in files),
        incompleteness(path) or "",
        changed_t=changed.stat().st_mtime,
        files=kept,
    )
    return info_of_checkpoint(view, read_json(path / TRAINER))


def videos_here(workspace: Workspace) -> tuple[VideoView, ...]:
    """Every video below `outputs/`, with what the .json beside it says."""
    paths = (path for path in workspace.outputs.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    return tuple(_video(workspace, path) for path in sorted(paths) if not path.name.startswith(STAGING))


def _video(workspace: Workspace, path: Path) -> VideoView:
    status = path.stat()
    relative = PurePosixPath(path.relative_to(workspace.root).as_posix())
    view = VideoView(str(relative), status.st_size, status.st_mtime, checkpoint=made_from(relative))
    said = read_json(path.with_suffix(".json"))
    return info_of_video(view, said) if said else view


def made_from(path: PurePosixPath) -> str:
    """The checkpoint whose training made a sample, by its folder `outputs/samples/CHECKPOINT/`; else empty."""
    return path.parent.name if path.parent.parent.name == "samples" else ""


def scores_here(workspace: Workspace) -> dict[str, dict[str, float]]:
    """checkpoint → score → value, of `outputs/scores/`; the newest of each."""
    scores: dict[str, dict[str, float]] = {}
    files = sorted((workspace.outputs / "scores").glob("*.json"), key=lambda path: path.stat().st_mtime)
    for said in map(read_json, files):
        values = said.get("scores")
        if isinstance(values, dict):
            name = PurePosixPath(str(said.get("checkpoint", ""))).name
            scores.setdefault(name, {}).update(
                (score, float(entry["value"]))
                for score, entry in values.items()
                if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
            )
    return scores
