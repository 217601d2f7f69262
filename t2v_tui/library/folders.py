"""What lies in folders, read again only when they changed: screens look at thousands of files every four seconds.

A folder whose time of change is the same holds the same names. A file that was written over in its place does not show
there, so that who looks again and again says for how long the files are to be trusted.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

# A folder that changed so shortly before it was read may have changed again since, within the same tick of its clock.
TICK_S = 2.0
# What screens trust: only a file that is written over in its place is seen so late.
TRUSTED_S = 30.0
MOST_FOLDERS, MOST_MADE = 20_000, 100_000
Value = TypeVar("Value")
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Folder:
    """What lay in a folder: the same object as long as nothing changed.

    folders: names
    files:   name → (size in bytes, time of change in ns, inode)
    """

    folders: tuple[str, ...] = ()
    files: Mapping[str, Stamp] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    folder: Folder
    changed_ns: int
    read_t: float
    is_settled: bool


_known: dict[str, _Read] = {}


def read_folder(path: str, *, trusted_s: float = 0.0) -> Folder:
    """Return what lies in a folder; nothing when it is not there. What goes meanwhile is passed over.

    trusted_s: so long after they were read its files are taken as they were, if the folder did not change
    """
    try:
        changed_ns = os.stat(path).st_mtime_ns  # noqa: PTH116 - hundreds of texts are looked at
    except OSError:
        return Folder()
    known, now = _known.get(path), time.monotonic()
    if known is not None and known.is_settled and known.changed_ns == changed_ns and now - known.read_t < trusted_s:
        return known.folder
    is_settled = time.time() - changed_ns / 1e9 > TICK_S
    read = _read(path)
    folder = known.folder if known is not None and known.folder == read else read
    if len(_known) > MOST_FOLDERS:  # of what is gone by now, most of it
        _known.clear()
    _known[path] = _Read(folder, changed_ns, now, is_settled)
    return folder


def _read(path: str) -> Folder:
    folders: list[str] = []
    files: dict[str, Stamp] = {}
    try:
        entries = list(os.scandir(path))
    except OSError:
        return Folder()
    for entry in entries:
        try:
            if entry.is_dir():
                folders.append(entry.name)
            elif entry.is_file():
                status = entry.stat()
                files[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ino)
        except OSError:
            continue
    return Folder(tuple(sorted(folders)), files)


def stamp_of(path: str) -> Stamp | None:
    """Return what tells a file or a folder as it is from how it was.

    None when it is not there, or is a folder that changed so shortly ago that it may change again within the same tick.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return None
    is_settled = not stat.S_ISDIR(status.st_mode) or time.time() - status.st_mtime > TICK_S
    return (status.st_size, status.st_mtime_ns, status.st_ino) if is_settled else None


# What was read of a path, and what it was made of then.
_made: dict[tuple[str, str], tuple[object, Any]] = {}


def once(what: str, path: str, of: object, read: Callable[[], Value]) -> Value:
    """Return what `read` returns, or returned when it was made of the same. Threads may share it: each reads the same.

    of: what it is made of, as the stamps of files; None: read it anew
    """
    known = _made.get((what, path))
    if known is None or of is None or known[0] != of:
        if len(_made) > MOST_MADE:  # of what is gone by now, most of it
            _made.clear()
        known = _made[what, path] = (of, read())
    value: Value = known[1]
    return value
