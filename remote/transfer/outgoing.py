"""One file on its way to a host."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from remote.agent.transfer.parts import Interval, missing
from remote.transfer.plan.push_plan import LocalFile
from remote.transfer.ranges import Sizes


class Outgoing:
    """A file that is being sent.

    there: intervals that an earlier try brought; left: ranges that the host has not acknowledged
    """

    def __init__(self, file: LocalFile, there: Sequence[Interval], sizes: Sizes) -> None:
        self.file, self.there = file, list(there)
        self.is_small = file.size <= sizes.small_bytes
        self.left = 1 if self.is_small else len(missing(there, file.size, sizes.range_bytes))
        self.is_landing = self.is_over = False
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        return self.file.size

    def arrived(self, ranges: int = 1) -> None:
        """Count ranges as arrived; less than none when one turned out to be several that have not."""
        with self._lock:
            self.left -= ranges
