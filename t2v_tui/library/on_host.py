"""Asking a host what lies in its workspace. Blocks for round trips: workers call it; raises EngineError."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from remote.errors import JobNotFound
from remote.replies.files import Entry, OpenModelEntry
from remote.replies.questions import LS, MODELS, OLD_CHECKPOINTS, READ
from t2v_core.data.video.beside import names_beside, settings_by_name, video_named
from t2v_core.disk.plain_json import table
from t2v_core.format import size
from t2v_tui.library.local import TRAINER, made_from
from t2v_tui.library.views import (
    VIDEO_SUFFIXES,
    CheckpointView,
    VideoView,
    info_of_checkpoint,
    info_of_video,
    is_checkpoint,
    old_checkpoint,
)

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs

DEEP = 4
NOT_WHOLE = "not complete: no manifest.json that fits"


def listing(jobs: HostJobs, folder: str, depth: int) -> Sequence[Entry]:
    """Return the agent's `ls`; nothing for a folder that is not there."""
    try:
        return jobs.ask(LS, path=folder, depth=depth).entries
    except JobNotFound:  # so the agent says of a folder too
        return ()


def read_there(jobs: HostJobs, path: str) -> Mapping[str, Any]:
    """Read a small JSON file; an empty table when it is not there or is none."""
    try:
        return table(jobs.ask(READ, path=path).data)
    except (JobNotFound, ValueError):
        return {}


def checkpoints_there(jobs: HostJobs, known: Mapping[str, CheckpointView] | None = None) -> tuple[CheckpointView, ...]:
    """Return every checkpoint in `checkpoints/` of the host and in the folders there that runs have of their own.

    known: what was read before; of a folder that has not changed nothing is read again
    """
    files: dict[str, list[tuple[str, int]]] = {}
    folders: dict[str, Entry] = {}
    for entry in listing(jobs, "checkpoints", 3):
        path = PurePosixPath(entry.path)
        if any(part.startswith(".") for part in path.parts[:2]):
            continue
        if entry.kind == "folder":
            folders[str(path)] = entry
        else:
            files.setdefault(str(path.parent), []).append((path.name, entry.size_bytes))
    ours = [
        _checkpoint(jobs, folders[name], files.get(name, []), known or {}) for name in _of_checkpoints(list(folders))
    ]
    has_old = any(name.endswith(".pt") for names in files.values() for name, _ in names)
    entries = jobs.ask(OLD_CHECKPOINTS).entries if has_old else ()
    return (*ours, *map(old_checkpoint, entries))


def _of_checkpoints(folders: Sequence[str]) -> list[str]:
    """Those that are checkpoints, and not what holds them or lies in them."""
    runs = {name.partition("/")[0] for name in folders if "/" in name and not is_checkpoint(name)}
    return [name for name in folders if name.count("/") == (name.partition("/")[0] in runs)]


def _checkpoint(
    jobs: HostJobs, entry: Entry, files: list[tuple[str, int]], known: Mapping[str, CheckpointView]
) -> CheckpointView:
    name, why = entry.path, "" if entry.is_complete else NOT_WHOLE
    view = CheckpointView(name, sum(size for _, size in files), why, changed_t=entry.mtime, files=tuple(sorted(files)))
    before = known.get(name)
    if before is not None and (before.files, before.changed_t, before.why) == (view.files, view.changed_t, view.why):
        return before
    return info_of_checkpoint(view, read_there(jobs, f"{view.path}/{TRAINER}"))


def videos_there(jobs: HostJobs, known: Sequence[VideoView] = ()) -> tuple[VideoView, ...]:
    """Return every video below `outputs/` of the host; of their .json only that they are there (see `described_there`).

    known: what was described before; one that has not changed stays so
    """
    before = {(view.path, view.size_bytes, view.changed_t): view for view in known}
    entries = [entry for entry in listing(jobs, "outputs", DEEP) if entry.kind == "file"]
    beside = settings_by_name([f"outputs/{entry.path}" for entry in entries])
    found = (
        VideoView(
            f"outputs/{entry.path}",
            entry.size_bytes,
            entry.mtime,
            checkpoint=made_from(PurePosixPath("outputs") / entry.path),
            beside=beside.get(f"outputs/{entry.path}", ""),
        )
        for entry in entries
        if entry.path.lower().endswith(VIDEO_SUFFIXES)
    )
    return tuple(before.get((view.path, view.size_bytes, view.changed_t), view) for view in found)


def described_there(jobs: HostJobs, video: VideoView) -> VideoView:
    """Return the video with what the .json beside it says, read from the host."""
    for beside in (video.beside,) if video.beside else names_beside(video.path):
        said = read_there(jobs, beside)
        if video_named(said) == video.name or (said and beside == video.beside):
            return info_of_video(replace(video, beside=beside), said)
    return video


def models_there(jobs: HostJobs) -> tuple[OpenModelEntry, ...]:
    """Return the open models that the host has, whole or not."""
    return jobs.ask(MODELS).models


def choices_of(models: Sequence[OpenModelEntry]) -> list[tuple[str, str]]:
    """Return what a form offers: (as it is asked for, its name with its size on the disk).

    What is not whole is offered too: asked for again, it is fetched to its end.
    """
    return [(one.source, f"{_short(one.source)} · {_standing(one)}") for one in models]


def _short(source: str) -> str:
    """Without its owner, and what nearly all of them end with."""
    return PurePosixPath(source).name.removesuffix("-Diffusers").removesuffix("-diffusers")


def _standing(one: OpenModelEntry) -> str:
    return size(one.size_bytes) if one.is_whole else f"{size(one.size_bytes)}, incomplete"
