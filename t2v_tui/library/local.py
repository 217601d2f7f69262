"""Reading what lies in the workspace here. Blocks for as long as the disk takes: workers call it.

A file that has the size and the time of change it had is not opened again: 2,000 videos and 300 checkpoints, which a
screen looks at every four seconds, were 0.6 s of a core each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from remote.agent.old_listing import listed
from remote.replies.files import OldCheckpoint
from t2v_core.data.video.beside import find_settings, read_settings
from t2v_core.disk.files import MANIFEST, STAGING, incompleteness
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.typed_json import read_as
from t2v_core.workspace import Workspace
from t2v_tui.library.views import (
    VIDEO_SUFFIXES,
    CheckpointView,
    VideoView,
    info_of_checkpoint,
    info_of_video,
    is_checkpoint,
    old_checkpoint,
)

TRAINER = "trainer.json"
MOST_REMEMBERED = 100_000
Value = TypeVar("Value")
Stamp = tuple[int, int, int]

# What was read of a path, and what its files were like then.
_known: dict[tuple[str, str], tuple[Hashable, Any]] = {}


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON file; what is no table of JSON is as good as not there, and reads as empty."""
    try:
        return read_table(path)
    except (OSError, ValueError):
        return {}


def _once(what: str, path: str, stamps: Hashable, read: Callable[[], Value]) -> Value:
    """What `read` returns, or returned when the files were as they are. Threads may share it: each reads the same."""
    known = _known.get((what, path))
    if known is None or known[0] != stamps:
        if len(_known) > MOST_REMEMBERED:  # of what is gone by now, most of it
            _known.clear()
        known = _known[what, path] = (stamps, read())
    value: Value = known[1]
    return value


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _files(folder: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    """Of a folder, but not of those in it; nothing when it is not there. What goes meanwhile is passed over."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_file():
                yield entry, entry.stat()
        except OSError:
            continue


def checkpoints_here(workspace: Workspace) -> tuple[CheckpointView, ...]:
    """Return every checkpoint in `checkpoints/` and in the folders that runs have of their own, complete or not."""
    found: list[CheckpointView] = []
    for path in _folders(workspace.checkpoints):
        own = [] if is_checkpoint(path.name) else _folders(path)
        if own:
            found += [_checkpoint(one, f"{path.name}/{one.name}") for one in own]
        else:
            found.append(_checkpoint(path, path.name))
    return (*found, *(old_checkpoint(read_as(OldCheckpoint, row)) for row in listed(workspace.checkpoints)))


def _folders(path: Path) -> list[Path]:
    try:
        entries = [one for one in os.scandir(path) if one.is_dir() and not one.name.startswith(".")]
    except OSError:
        return []
    return [Path(one.path) for one in sorted(entries, key=lambda one: one.name)]


def _checkpoint(path: Path, name: str) -> CheckpointView:
    stamps = sorted((entry.name, *_stamp(status)) for entry, status in _files(str(path)))
    stamp = (name, path.stat().st_mtime_ns, *stamps)
    return _once("checkpoint", str(path), stamp, lambda: _read_checkpoint(path, name, stamps))


def _read_checkpoint(path: Path, name: str, stamps: list[tuple[str, int, int, int]]) -> CheckpointView:
    files = [(file, size) for file, size, _, _ in stamps]
    kept = tuple((file, size) for file, size in files if not file.startswith(STAGING))
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
    """Return every video below `outputs/`, with what the .json beside it says."""
    found: list[VideoView] = []
    for folder, _, _ in os.walk(workspace.outputs):
        files = {entry.name: (entry.path, status) for entry, status in _files(folder)}
        for name, (path, status) in files.items():
            stem, dot, suffix = name.rpartition(".")
            if f"{dot}{suffix}".lower() in VIDEO_SUFFIXES and not name.startswith(STAGING):
                beside = [files.get(f"{one}.json") for one in (stem, name)]
                stamps = (_stamp(status), *(_stamp(one[1]) if one else None for one in beside))
                found.append(_once("video", path, stamps, partial(_read_video, workspace, Path(path), status)))
    return tuple(sorted(found, key=lambda video: video.path.split("/")))


def _read_video(workspace: Workspace, path: Path, status: os.stat_result) -> VideoView:
    relative = PurePosixPath(path.relative_to(workspace.root).as_posix())
    view = VideoView(str(relative), status.st_size, status.st_mtime, checkpoint=made_from(relative))
    beside = find_settings(path)
    if beside is None:
        return view
    return info_of_video(replace(view, beside=str(relative.with_name(beside.name))), read_settings(beside))


def made_from(path: PurePosixPath) -> str:
    """Return the checkpoint whose training made a sample, by its folder `outputs/samples/…/CHECKPOINT/`; else empty."""
    return path.parent.name if path.parts[1:2] == ("samples",) and len(path.parts) > 3 else ""


def scores_here(workspace: Workspace) -> dict[str, dict[str, float]]:
    """Return checkpoint → score → value, of `outputs/scores/`; the newest of each."""
    scores: dict[str, dict[str, float]] = {}
    files = [
        (entry, status) for entry, status in _files(str(workspace.outputs / "scores")) if entry.name.endswith(".json")
    ]
    for entry, status in sorted(files, key=lambda file: file[1].st_mtime):
        said = _once("score", entry.path, _stamp(status), partial(read_json, Path(entry.path)))
        values = said.get("scores")
        if isinstance(values, dict):
            name = PurePosixPath(str(said.get("checkpoint", ""))).name
            scores.setdefault(name, {}).update(
                (score, float(entry["value"]))
                for score, entry in values.items()
                if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
            )
    return scores
