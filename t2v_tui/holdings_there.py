"""Asking a host what lies in its workspace. Blocks for round trips: workers call it; raises EngineError."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from remote.errors import JobNotFound
from t2v_tui.holdings import (
    VIDEO_SUFFIXES,
    CheckpointView,
    VideoView,
    info_of_checkpoint,
    info_of_video,
    is_checkpoint,
)
from t2v_tui.holdings_here import TRAINER, made_from

if TYPE_CHECKING:
    from remote.host_jobs import HostJobs

DEEP = 4
NOT_WHOLE = "not complete: no manifest.json that fits"


def listing(jobs: HostJobs, folder: str, depth: int) -> list[Mapping[str, Any]]:
    """The agent's `ls`; nothing for a folder that is not there."""
    try:
        return list(jobs.ask("ls", path=folder, depth=depth)["entries"])
    except JobNotFound:  # so the agent says of a folder too
        return []


def read_there(jobs: HostJobs, path: str) -> Mapping[str, Any]:
    """A small JSON file; an empty table when it is not there or is none."""
    try:
        said = json.loads(base64.b64decode(jobs.ask("read", path=path)["data"]))
    except (JobNotFound, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def checkpoints_there(jobs: HostJobs, known: Mapping[str, CheckpointView] | None = None) -> tuple[CheckpointView, ...]:
    """Every checkpoint in `checkpoints/` of the host and in the folders there that runs have of their own.

    known: what was read before; of a folder that has not changed nothing is read again
    """
    files: dict[str, list[tuple[str, int]]] = {}
    folders: dict[str, Mapping[str, Any]] = {}
    for entry in listing(jobs, "checkpoints", 3):
        path = PurePosixPath(str(entry["path"]))
        if any(part.startswith(".") for part in path.parts[:2]):
            continue
        if entry["kind"] == "folder":
            folders[str(path)] = entry
        else:
            files.setdefault(str(path.parent), []).append((path.name, int(entry["size_bytes"])))
    return tuple(
        _checkpoint(jobs, folders[name], files.get(name, []), known or {}) for name in _of_checkpoints(list(folders))
    )


def _of_checkpoints(folders: Sequence[str]) -> list[str]:
    """Those that are checkpoints, and not what holds them or lies in them."""
    runs = {name.partition("/")[0] for name in folders if "/" in name and not is_checkpoint(name)}
    return [name for name in folders if name.count("/") == (name.partition("/")[0] in runs)]


def _checkpoint(
    jobs: HostJobs, entry: Mapping[str, Any], files: list[tuple[str, int]], known: Mapping[str, CheckpointView]
) -> CheckpointView:
    name, why = str(entry["path"]), "" if entry["is_complete"] else NOT_WHOLE
    view = CheckpointView(
        name, sum(size for _, size in files), why, changed_t=float(entry["mtime"]), files=tuple(sorted(files))
    )
    before = known.get(name)
    if before is not None and (before.files, before.changed_t, before.why) == (view.files, view.changed_t, view.why):
        return before
    return info_of_checkpoint(view, read_there(jobs, f"{view.path}/{TRAINER}"))


def videos_there(jobs: HostJobs) -> tuple[VideoView, ...]:
    """Every video below `outputs/` of the host; of their .json only that they are there (see `described_there`)."""
    return tuple(
        VideoView(
            f"outputs/{entry['path']}",
            int(entry["size_bytes"]),
            float(entry["mtime"]),
            checkpoint=made_from(PurePosixPath("outputs") / str(entry["path"])),
        )
        for entry in listing(jobs, "outputs", DEEP)
        if entry["kind"] == "file" and str(entry["path"]).lower().endswith(VIDEO_SUFFIXES)
    )


def described_there(jobs: HostJobs, video: VideoView) -> VideoView:
    """With what the .json beside it says, read from the host."""
    said = read_there(jobs, str(PurePosixPath(video.path).with_suffix(".json")))
    return info_of_video(video, said) if said else video
