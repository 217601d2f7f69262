"""How work that has several steps tells what it does: a screen draws these, a command line prints them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Status(StrEnum):
    """ok: was so already; doing; done: has been changed; note: cannot be changed by us, and does not hinder; failed."""

    OK = "ok"
    DOING = "doing"
    DONE = "done"
    NOTE = "note"
    FAILED = "failed"


@dataclass(frozen=True)
class StepState:
    """How one step stands.

    name:   one word or two, the same each time: python, disk, release …
    detail: what is there, or what happens just now
    hint:   what to do about a failed one
    """

    name: str
    status: Status
    detail: str = ""
    hint: str = ""


class ProgressIterator(Generic[T, R]):
    """A call that tells as it goes, as an iterator of what it tells; `result` is there at its end.

    It runs in a thread of its own. Whoever stops iterating sets `cancelled`, which the call may look at; so may whoever
    gave it, from another thread, and need not wait for the next thing that is told.
    """

    result: R

    def __init__(
        self, call: Callable[[Callable[[T], None], threading.Event], R], cancelled: threading.Event | None = None
    ) -> None:
        self._call, self._cancelled = call, cancelled or threading.Event()
        self._said: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[T]:
        threading.Thread(target=self._run, name="telling", daemon=True).start()
        try:
            while (said := self._said.get()) is not None:
                if isinstance(said, BaseException):
                    raise said
                yield said[0]
        except (GeneratorExit, KeyboardInterrupt):
            self._cancelled.set()
            raise

    def _run(self) -> None:
        try:
            self.result = self._call(lambda said: self._said.put((said,)), self._cancelled)
            self._said.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is iterated
            self._said.put(error)
