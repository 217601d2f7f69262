"""What is still to be moved, in requests that any stream may take, and may give back when its link breaks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from remote.agent.transfer.parts import Interval, missing

# Small enough that all streams end at the same time, and the sum keeps up with what comes from the beginning on.
RANGE_BYTES = 4 * 1024 * 1024
# Files up to here come whole, many in one request: a round trip for each would cost more than its bytes.
SMALL_BYTES = 1024 * 1024
BATCH_BYTES, BATCH_FILES = 4 * 1024 * 1024, 128


@dataclass(frozen=True)
class Sizes:
    """How files are cut; tests make them small."""

    range_bytes: int = RANGE_BYTES
    small_bytes: int = SMALL_BYTES
    batch_bytes: int = BATCH_BYTES


class Movable(Protocol):
    """A file that is moved, either way.

    is_small: in one piece; there: intervals that have arrived; is_over: nothing of it needs to be moved any more
    """

    is_small: bool

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        ...

    @property
    def there(self) -> list[Interval]:
        """Return the intervals that have arrived."""
        ...

    @property
    def is_over(self) -> bool:
        """Tell whether nothing of it needs to be moved any more."""
        ...


File = TypeVar("File", bound=Movable)


@dataclass
class Range(Generic[File]):
    """Bytes [begin, end) of one file; `begin` moves on as they come."""

    file: File
    begin: int
    end: int


Request = list[Range[File]]


def requests_for(files: Iterable[File], sizes: Sizes) -> list[Request[File]]:
    """Return requests in the order in which to move them: big files range by range, small ones in batches."""
    requests: list[Request[File]] = []
    batch: Request[File] = []
    for one in files:
        if one.is_small:
            batch.append(Range(one, 0, one.size))
            if len(batch) == BATCH_FILES or sum(each.end for each in batch) >= sizes.batch_bytes:
                requests.append(batch)
                batch = []
        else:
            gaps = missing(one.there, one.size, sizes.range_bytes)
            requests += [[Range(one, begin, end)] for begin, end in gaps]
    return [*requests, batch] if batch else requests


class RangeQueue(Generic[File]):
    """Requests that wait, and a count of those that somebody works on."""

    def __init__(self, requests: Sequence[Request[File]]) -> None:
        self._waiting = deque(requests)
        self._open = len(requests)
        self._changed = threading.Condition()
        self._is_closed = False

    def take(self, *, is_waiting: bool) -> Request[File] | None:
        """Take the next one. None when there is none now; with `is_waiting` only when there will be none any more."""
        with self._changed:
            while True:
                if self._is_closed:
                    return None
                if self._waiting:
                    return self._waiting.popleft()
                if not is_waiting or not self._open:
                    return None
                self._changed.wait()

    def give_back(self, request: Request[File]) -> None:
        """Leave what has not come of it to somebody else; a range that came in part goes on where it was."""
        left = [one for one in request if not one.file.is_over]
        with self._changed:
            if left:
                self._waiting.appendleft(left)
            else:
                self._open -= 1
            self._changed.notify_all()

    def finished(self) -> None:
        """Count a request that was taken as come."""
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    @property
    def has_waiting(self) -> bool:
        """Tell whether a request waits to be taken."""
        return bool(self._waiting)

    @property
    def is_over(self) -> bool:
        """Tell whether it is closed, or every request has come."""
        return self._is_closed or not self._open

    def close(self) -> None:
        """Close the queue: nothing more is handed out, and whoever waits gets None."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
