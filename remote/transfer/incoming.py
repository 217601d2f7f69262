"""One file on its way here, and the unit it belongs to."""

from __future__ import annotations

import threading
from pathlib import Path

from remote.agent.transfer.parts import Interval, Part
from remote.replies.transfer import FarFile
from remote.transfer.plan.offered import Unit
from remote.transfer.plan.pull_plan import target_of


class Incoming:
    """A file that is being fetched.

    is_small: comes in one piece and is held in memory until it is verified
    sha256:   what it has to be; None until the other side has said it
    failed:   why it has to be begun again, once it has to be
    """

    def __init__(self, unit: Unit, file: FarFile, root: Path, *, is_small: bool) -> None:
        self.unit, self.file, self.is_small = unit, file, is_small
        self.target = target_of(unit, file, root)
        self.part = Part(self.target, file.identity, file.size)
        self.sha256 = file.sha256
        self.data = bytearray()
        self.failed = ""
        self.is_landed = False
        self.came = threading.Condition()

    @property
    def far_path(self) -> str:
        """Return its path relative to the workspace there."""
        return self.unit.far_path(self.file)

    @property
    def size(self) -> int:
        """Return its size in bytes, as it was offered."""
        return self.file.size

    @property
    def there(self) -> list[Interval]:
        """Return the intervals of its bytes that have come."""
        return self.part.there

    @property
    def is_over(self) -> bool:
        """Tell whether nothing of it needs to come any more."""
        return self.is_landed or bool(self.failed)

    def fail(self, why: str) -> None:
        """Note why it has to be begun again, and wake whoever waits for it; the first reason stays."""
        with self.came:
            self.failed = self.failed or why
            self.came.notify_all()

    def wake(self) -> None:
        """Wake whoever waits: more of it is there."""
        with self.came:
            self.came.notify_all()


class UnitState:
    """How many files of a unit have not landed."""

    def __init__(self, unit: Unit, waiting: int) -> None:
        self.unit, self._waiting = unit, waiting
        self._lock = threading.Lock()

    def one_landed(self) -> bool:
        """Count one file as landed; return True for the last one."""
        with self._lock:
            self._waiting -= 1
            return self._waiting == 0
