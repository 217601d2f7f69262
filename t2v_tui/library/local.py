"""Reading what lies in the workspace here. Blocks for as long as the disk takes: workers call it.

A file that has the size and the time of change it had is not opened again, and a folder that did not change is not
listed again: 2,000 videos and 300 checkpoints, which a screen looks at every four seconds, were 0.6 s of a core.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from remote.agent.listing.old_listing import listed
from remote.replies.files import OldCheckpoint
from t2v_core.data.video.beside import find_settings, read_settings
from t2v_core.disk.files import MANIFEST, STAGING, incompleteness
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.typed_json import read_as
from t2v_core.workspace import Workspace
from t2v_tui.library.favourites import file_of, read_favourites
from t2v_tui.library.folders import Folder, Stamp, once, read_folder, stamp_of
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


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON file; what is no table of JSON is as good as not there, and reads as empty."""
    try:
        return read_table(path)
    except (OSError, ValueError):
        return {}


def checkpoints_here(workspace: Workspace, *, trusted_s: float = 0.0) -> tuple[CheckpointView, ...]:
    """Return every checkpoint in `checkpoints/` and in the folders that runs have of their own, complete or not.

    trusted_s: see `read_folder`
    """
    top, read = str(workspace.checkpoints), partial(read_folder, trusted_s=trusted_s)
    found: list[CheckpointView] = []
    folders = [read(top)]
    for name in _names(folders[0]):
        path, folder = f"{top}/{name}", read(f"{top}/{name}")
        folders.append(folder)
        own = [] if is_checkpoint(name) else _names(folder)
        if own:
            found += [_checkpoint(f"{path}/{one}", f"{name}/{one}", read(f"{path}/{one}")) for one in own]
        else:
            found.append(_checkpoint(path, name, folder))
    return (*found, *once("old", top, tuple(folders), lambda: _old_checkpoints(workspace.checkpoints)))


def _old_checkpoints(path: Path) -> tuple[CheckpointView, ...]:
    return tuple(old_checkpoint(read_as(OldCheckpoint, row)) for row in listed(path))


def _names(folder: Folder) -> list[str]:
    return [name for name in folder.folders if not name.startswith(".")]


def _checkpoint(path: str, name: str, folder: Folder) -> CheckpointView:
    return once("checkpoint", path, (name, folder), lambda: _read_checkpoint(Path(path), name, folder))


def _read_checkpoint(path: Path, name: str, folder: Folder) -> CheckpointView:
    files = [(file, stamp[0]) for file, stamp in sorted(folder.files.items())]
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


def videos_here(workspace: Workspace, *, trusted_s: float = 0.0) -> tuple[VideoView, ...]:
    """Return every video below `outputs/`, with what the .json beside it says. trusted_s: see `read_folder`"""
    found: list[VideoView] = []
    for path, folder in _below(str(workspace.outputs), trusted_s):
        found += once("videos", path, folder, partial(_videos_in, workspace, path, folder))
    return once("all videos", str(workspace.outputs), tuple(found), partial(_in_order, found))


def _in_order(videos: list[VideoView]) -> tuple[VideoView, ...]:
    return tuple(sorted(videos, key=lambda video: video.path.split("/")))


def _below(path: str, trusted_s: float) -> Iterator[tuple[str, Folder]]:
    """A folder and all below it; links to folders are not followed."""
    folder = read_folder(path, trusted_s=trusted_s)
    yield path, folder
    for name in folder.folders:
        if not os.path.islink(f"{path}/{name}"):  # noqa: PTH114 - a path is a text here
            yield from _below(f"{path}/{name}", trusted_s)


def _videos_in(workspace: Workspace, path: str, folder: Folder) -> list[VideoView]:
    found: list[VideoView] = []
    for name, stamp in folder.files.items():
        stem, dot, suffix = name.rpartition(".")
        if f"{dot}{suffix}".lower() in VIDEO_SUFFIXES and not name.startswith(STAGING):
            stamps = (stamp, *(folder.files.get(f"{one}.json") for one in (stem, name)))
            video = Path(path) / name
            found.append(once("video", str(video), stamps, partial(_read_video, workspace, video, stamp)))
    return found


def _read_video(workspace: Workspace, path: Path, stamp: Stamp) -> VideoView:
    relative = PurePosixPath(path.relative_to(workspace.root).as_posix())
    view = VideoView(str(relative), stamp[0], path.stat().st_mtime, checkpoint=made_from(relative))
    beside = find_settings(path)
    if beside is None:
        return view
    return info_of_video(replace(view, beside=str(relative.with_name(beside.name))), read_settings(beside))


def made_from(path: PurePosixPath) -> str:
    """Return the checkpoint whose training made a sample, by its folder `outputs/samples/…/CHECKPOINT/`; else empty."""
    return path.parent.name if path.parts[1:2] == ("samples",) and len(path.parts) > 3 else ""


def favourites_here(workspace: Workspace) -> frozenset[str]:
    """Return the paths of the videos that somebody likes, relative to the workspace."""
    path = str(file_of(workspace))
    stamp = stamp_of(path)
    return once("favourites", path, stamp, partial(read_favourites, workspace)) if stamp else frozenset()


def scores_here(workspace: Workspace) -> Mapping[str, Mapping[str, float]]:
    """Return checkpoint → score → value, of `outputs/scores/`; the newest of each."""
    path = str(workspace.outputs / "scores")
    folder = read_folder(path)
    return once("scores", path, folder, partial(_read_scores, path, folder))


def _read_scores(path: str, folder: Folder) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = {}
    files = [(stamp[1], name, stamp) for name, stamp in folder.files.items() if name.endswith(".json")]
    for _, name, stamp in sorted(files):
        said = once("score", f"{path}/{name}", stamp, partial(read_json, Path(path) / name))
        values = said.get("scores")
        if isinstance(values, dict):
            checkpoint = PurePosixPath(str(said.get("checkpoint", ""))).name
            scores.setdefault(checkpoint, {}).update(
                (score, float(entry["value"]))
                for score, entry in values.items()
                if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
            )
    return scores
