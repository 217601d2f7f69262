"""Folders that only their owner may look into: prompts, settings and logs lie in them, whatever the umask.

`.t2v/` and `jobs/` of a workspace are 0700, which protects all that is in them; nothing in them is handed out. What a
job makes (videos, checkpoints, data) lies elsewhere, and has the modes that its owner's umask gives.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

OWN = ".t2v"
PRIVATE = 0o700
# Of a folder on the way to one of ours: nobody else writes where we make what is run.
ON_THE_WAY = 0o755


def make_folder(path: Path) -> None:
    """Make a folder and those above it; `.t2v` among them becomes its owner's alone."""
    parts = path.parts
    if OWN in parts:
        make_private(Path(*parts[: parts.index(OWN) + 1]))
    path.mkdir(parents=True, exist_ok=True)


def make_private(folder: Path) -> None:
    """Make a folder that is its owner's alone; one that is there, and ours, becomes so."""
    for parent in reversed(folder.parents):
        if not parent.exists():
            parent.mkdir(mode=ON_THE_WAY, exist_ok=True)
    try:
        folder.mkdir(mode=PRIVATE)
    except FileExistsError:
        status = folder.stat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o077:
            folder.chmod(PRIVATE)


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Open a file that is made where it is not, and never through a link that somebody put there."""
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def make_new(path: Path, mode: int = 0o666) -> None:
    """Make an empty file in the place of whatever a killed process left under its staging name, if that can go."""
    path.unlink(missing_ok=True)
    os.close(open_own(path, os.O_WRONLY | os.O_EXCL, mode))
