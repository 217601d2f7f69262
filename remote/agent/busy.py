"""A sign that bytes move, for the guard that stops an idle machine: the time of a file under this process's number."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .asked import expanded

TOUCH_S = 5.0


class BusyMark:
    """`~/.cache/t2v/busy/<pid>`, whose age says when something was moved last; gone with a conversation that ends."""

    def __init__(self) -> None:
        self.path: Path = expanded("~/.cache/t2v/busy") / str(os.getpid())
        self._touched = 0.0

    def touch(self) -> None:
        """As often as one likes."""
        if time.monotonic() - self._touched >= TOUCH_S:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            self._touched = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
