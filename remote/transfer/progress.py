"""How a transfer stands: one frozen row after another, for a bar, a table or a log."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

WINDOW_S = 4.0


class Phase(StrEnum):
    """WAITING: for another transfer of this workspace; NOTE: a sentence; LANDED: `path` is there, whole, verified."""

    WAITING = "waiting"
    MOVING = "moving"
    NOTE = "note"
    LANDED = "landed"
    ENDED = "ended"


@dataclass(frozen=True)
class TransferProgress:
    """Where it stands now.

    done_bytes, total_bytes: of what has to be moved, without what was there of an earlier try
    files_done, files_total: verified and renamed, and all
    bytes_per_s: over the last seconds; None until that can be said
    streams:     connections at work
    path:        what has landed, relative to the workspace; for LANDED
    note:        for WAITING, NOTE
    """

    phase: Phase
    done_bytes: int
    total_bytes: int
    files_done: int
    files_total: int
    bytes_per_s: float | None = None
    streams: int = 0
    path: str = ""
    note: str = ""

    @property
    def left_s(self) -> float | None:
        """Return the seconds until the end at this rate; None while there is no rate."""
        return (self.total_bytes - self.done_bytes) / self.bytes_per_s if self.bytes_per_s else None


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def report(self, done_bytes: int, now: float | None = None) -> None:
        """Note how many bytes are done in all by now. now: of the monotonic clock, in seconds"""
        now = time.monotonic() if now is None else now
        self._seen.append((now, done_bytes))
        while len(self._seen) > 2 and self._seen[1][0] <= now - self._window_s:
            self._seen.popleft()

    def per_s(self) -> float | None:
        """Return bytes a second; None until two reports tell."""
        if len(self._seen) < 2:
            return None
        (t0, first), (t1, last) = self._seen[0], self._seen[-1]
        return (last - first) / (t1 - t0) if t1 > t0 and last > first else None
