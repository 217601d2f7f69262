"""One after the other, in the order of asking; whoever waits knows how many are before them and may leave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WAKE_S = 0.5


@dataclass(eq=False)
class Press:
    """One press of a button.

    job: its id on the host, once there is one
    """

    cancelled: threading.Event = field(default_factory=threading.Event)
    job: str = ""


class Turns:
    """A fair queue for threads."""

    def __init__(self) -> None:
        self._line: list[Press] = []
        self._moved = threading.Condition()

    @contextmanager
    def place_of(self, press: Press) -> Iterator[Iterator[int]]:
        """Hold a place in the line while inside.

        The iterator says how many are before it, until none is or it is cancelled.
        """
        with self._moved:
            self._line.append(press)
        try:
            yield self._before(press)
        finally:
            with self._moved:
                self._line.remove(press)
                self._moved.notify_all()

    def _before(self, press: Press) -> Iterator[int]:
        said = -1
        while not press.cancelled.is_set():
            with self._moved:
                before = self._line.index(press)
                if before == said:
                    self._moved.wait(WAKE_S)
                    before = self._line.index(press)
            if before == 0:
                return
            if before != said:
                said = before
                yield before

    def wake(self) -> None:
        """Wake everybody who waits, since somebody was cancelled."""
        with self._moved:
            self._moved.notify_all()
