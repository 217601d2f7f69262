"""Where the threads of a transfer write down what they did, and whoever shows it reads it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from remote.transfer.progress import Phase, Rate, TransferProgress


class Board:
    """Counters, sentences, and the first error that ends it all; any thread may write.

    closed: set when it is over, by whoever ends it
    """

    def __init__(self, total_bytes: int, files_total: int) -> None:
        self.total_bytes, self.files_total = total_bytes, files_total
        self.done_bytes = self.files_done = self.streams = 0
        self.closed = threading.Event()
        self.error: Exception | None = None
        self.moved_t = time.monotonic()
        self._lost: set[int] = set()
        self._is_down = False
        self._rate = Rate()
        self._said: queue.SimpleQueue[tuple[Phase, str]] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def moved(self, size: int) -> None:
        """Count so many more bytes as moved."""
        with self._lock:
            self.done_bytes += size
            self.moved_t = time.monotonic()

    def undone(self, size: int) -> None:
        """Count so many bytes once more: they have to be moved again."""
        with self._lock:
            self.total_bytes += size

    def expect(self, size: int, files: int) -> None:
        """Set the totals: so much has to come from now on."""
        with self._lock:
            self.total_bytes, self.files_total = self.done_bytes + size, self.files_done + files

    def verified(self, files: int = 1) -> None:
        """Count more files as verified."""
        with self._lock:
            self.files_done += files

    def stream(self, change: int) -> None:
        """Count a stream that begins (+1) or ends (-1)."""
        with self._lock:
            self.streams += change

    def lost(self, stream: int, why: str) -> None:
        """Note that a stream is without its connection; said when all of them are."""
        with self._lock:
            self._lost.add(stream)
            is_news = len(self._lost) >= self.streams and not self._is_down
            self._is_down |= is_news
        if is_news:
            self.note(f"link: {why}; reconnecting")

    def found(self, stream: int) -> None:
        """Note that a stream has its connection again; said when all of them were without."""
        with self._lock:
            self._lost.discard(stream)
            is_news, self._is_down = self._is_down, False
        if is_news:
            self.note("link: it is back")

    def note(self, sentence: str) -> None:
        """Say a sentence at the next look."""
        self._said.put((Phase.NOTE, sentence))

    def landed(self, path: str) -> None:
        """Say at the next look that `path`, relative to the workspace, has landed."""
        self._said.put((Phase.LANDED, path))

    def fail(self, error: Exception) -> None:
        """End it all; what is here can be gone on with."""
        with self._lock:
            self.error = self.error or error
        self.closed.set()

    def sample(self) -> None:
        """Measure the rate anew from what is done by now."""
        self._rate.report(self.done_bytes)

    @property
    def bytes_per_s(self) -> float | None:
        """Return the rate of the last seconds; None until it can be told."""
        return self._rate.per_s()

    def row(self, phase: Phase = Phase.MOVING, *, path: str = "", note: str = "") -> TransferProgress:
        """Return how it stands now, with its numbers."""
        return TransferProgress(
            phase, self.done_bytes, self.total_bytes, self.files_done, self.files_total,
            self.bytes_per_s, self.streams, path, note,
        )  # fmt: skip

    def said(self) -> Iterator[TransferProgress]:
        """Yield what was said since the last look."""
        while not self._said.empty():
            phase, text = self._said.get()
            yield self.row(phase, path=text if phase is Phase.LANDED else "", note=text if phase is Phase.NOTE else "")
