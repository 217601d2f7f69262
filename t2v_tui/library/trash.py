"""The trash of a workspace, `.t2v/trash/`: what was deleted here, for a day, and the way back.

Each delete is a folder named by its moment in ms, with `deleted.json` written first and the things below at their own
paths: killed in between, what was moved is found again and the rest is where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from t2v_core.disk.files import describe_os_error, write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import UnixTime, read_as
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.workspace import Workspace

KEPT_S = 24 * 3600.0
NOTE = "deleted.json"
# What can be deleted: results, and nothing that is a folder of the workspace itself.
RESULTS = ("checkpoints", "outputs")


@dataclass(frozen=True)
class Deleted:
    """One delete. paths: what lies in it, relative to the workspace; t: Unix seconds"""

    folder: Path
    t: float
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the first path, which stands for all of them."""
        return self.paths[0]

    @property
    def size_bytes(self) -> int:
        """Return the bytes of what was deleted, added up now."""
        return _size(self.folder)


@dataclass(frozen=True)
class _Note:
    """What `deleted.json` holds."""

    t: UnixTime
    paths: tuple[str, ...]


def put_away(workspace: Workspace, paths: Sequence[str], now_t: float) -> Deleted:
    """Move results into the trash; those that are not there are passed over. Raises InvalidRequest, WorkFailed."""
    for path in paths:
        parts = PurePosixPath(path).parts
        if len(parts) < 2 or parts[0] not in RESULTS or ".." in parts:
            raise InvalidRequest(f"{path} is neither a checkpoint nor a video", "only those are deleted from here")
    there = [path for path in paths if (workspace.root / path).exists()]
    if not there:
        raise InvalidRequest(f"{paths[0]} no longer exists here", "the list refreshes in a moment")
    folder = trash_of(workspace) / f"{round(now_t * 1000)}"
    try:
        make_folder(folder.parent)
        folder.mkdir()
        write_json(folder / NOTE, asdict(_Note(now_t, tuple(there))))
        for path in there:
            _move(workspace.root / path, folder / path)
    except OSError as error:
        raise describe_os_error(error, folder) from error
    return Deleted(folder, now_t, tuple(there))


def deleted(workspace: Workspace) -> tuple[Deleted, ...]:
    """Return what lies in the trash, the newest first."""
    found = [_note_in(note.parent) for note in trash_of(workspace).glob(f"*/{NOTE}")]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: -one.t))


def bring_back(workspace: Workspace, one: Deleted) -> None:
    """Move it back to where it was.

    Raises InvalidRequest, before anything is moved, when something of that name is there again; WorkFailed when it did
    not come back whole.
    """
    taken = [path for path in one.paths if (workspace.root / path).exists()]
    if taken:
        raise InvalidRequest(f"there is another {taken[0]} here now", "rename or delete that one first")
    try:
        for path in one.paths:
            _move(one.folder / path, workspace.root / path)
    except OSError as error:
        raise WorkFailed(f"{one.name} was not brought back whole: {error}", f"what is left: {one.folder}") from error
    shutil.rmtree(one.folder)


def empty(workspace: Workspace, *, before_t: float) -> int:
    """Remove for good what was deleted before that moment; returns the bytes that came free."""
    freed = 0
    for folder in trash_of(workspace).glob("[0-9]*"):
        if int(folder.name) < before_t * 1000:
            freed += _size(folder)
            shutil.rmtree(folder)
    return freed


def trash_of(workspace: Workspace) -> Path:
    """Return the trash's folder, which need not be there yet."""
    return workspace.root / ".t2v" / "trash"


def _move(source: Path, target: Path) -> None:
    """A rename, or a copy where the trash is on another disk, as behind a link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)


def _size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and file.name != NOTE)


def _note_in(folder: Path) -> Deleted | None:
    try:
        note = read_as(_Note, read_table(folder / NOTE))
    except (OSError, ValueError):
        return None
    kept = tuple(path for path in note.paths if (folder / path).exists())
    return Deleted(folder, note.t, kept) if kept else None
