"""A sign that bytes move, for the guard that stops an idle machine: a file under this process's number says when."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from ..base.asked import expanded
from ..base.private import PRIVATE, make_folder
from ..base.processes import this_moment
from .records import RUN

TOUCH_S = 5.0
# Always as long, so that nothing of an earlier one is left behind it.
MOMENT_BYTES = 128


def busy_folders() -> list[Path]:
    """Return the folders that marks may lie in.

    The first lies in memory, where a timer of the system guards: there a full disk hides no transfer from it.
    """
    return [RUN / "busy", expanded("~/.cache/t2v/busy")]


def write_moment(path: Path) -> None:
    """Write this moment into a file, in one piece. Raises OSError.

    One of which a full disk takes nothing has still its own time, which is all that an earlier guard reads.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.utime(path)
        try:
            os.pwrite(descriptor, json.dumps(this_moment()).ljust(MOMENT_BYTES).encode(), 0)
        except OSError:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


class BusyMark:
    """`busy/<pid>`, which says when something was moved last; gone with a conversation that ends."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._touched = -TOUCH_S

    def touch(self) -> None:
        """Renew the mark, as often as one likes.

        Where none can be left nothing is: what was asked for goes on all the same.
        """
        if time.monotonic() - self._touched < TOUCH_S:
            return
        for folder in busy_folders():
            with suppress(OSError):
                if folder.parent == RUN:
                    folder.mkdir(mode=PRIVATE, exist_ok=True)
                else:
                    make_folder(folder)
                path = folder / str(os.getpid())
                write_moment(path)
                self._path = path
                break
        self._touched = time.monotonic()

    def remove(self) -> None:
        """Take away the mark, if one was left."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
