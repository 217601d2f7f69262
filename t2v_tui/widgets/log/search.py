"""Finding text in a log: the next line that contains it, and all lines that have it."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from t2v_tui.widgets.log.index import CHUNK_BYTES, LogIndex

BATCH_S = 0.25


@dataclass(frozen=True)
class Needle:
    """What is looked for. Small letters find large ones as well."""

    text: str

    @property
    def ignores_case(self) -> bool:
        """Tell whether large letters are found as well: when the text has none."""
        return self.text == self.text.lower()

    @property
    def pattern(self) -> bytes:
        """Return the bytes to look for."""
        return self.text.encode()

    def ready(self, data: bytes) -> bytes:
        """Return what `pattern` is to be looked for in."""
        return data.lower() if self.ignores_case else data

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where it stands in a line, (begin, end) each time."""
        within = text.lower() if self.ignores_case else text
        at = within.find(self.text)
        while at >= 0 and self.text:
            yield at, at + len(self.text)
            at = within.find(self.text, at + len(self.text))


def matching_lines(data: bytes, first_line: int, needle: Needle) -> array[int]:
    """Return the numbers of the lines that have it.

    data: whole lines, of which the first has the number `first_line`
    """
    within, pattern = needle.ready(data), needle.pattern
    found = array("I")
    at, line = 0, first_line
    while (hit := within.find(pattern, at)) >= 0:
        line += within.count(b"\n", at, hit)
        found.append(line)
        at = within.find(b"\n", hit) + 1
        if at == 0:
            break
        line += 1
    return found


def whole_lines(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Yield pieces of a stretch that begins and ends with a line, each of whole lines."""
    carried = b""
    while start < end and (data := os.pread(descriptor, min(CHUNK_BYTES, end - start), start)):
        start += len(data)
        whole = data.rfind(b"\n") + 1
        if whole:
            yield carried + data[:whole]
            carried = data[whole:]
        else:
            carried += data


@dataclass(frozen=True)
class Batch:
    """Lines that a scan found so far, since its last batch; all up to `scanned_to` were looked at."""

    lines: array[int]
    scanned_to: int
    scanned_lines: int


def scan(
    descriptor: int, needle: Needle, start: int, end: int, first_line: int, *, is_unwanted: Callable[[], bool]
) -> Iterator[Batch]:
    """Yield all lines of a stretch that have it, in batches a quarter of a second apart, the last when it is done."""
    found, line, told_at = array("I"), first_line, time.monotonic()
    for data in whole_lines(descriptor, start, end):
        found.extend(matching_lines(data, line, needle))
        start, line = start + len(data), line + data.count(b"\n")
        if is_unwanted():
            return
        if time.monotonic() - told_at > BATCH_S:
            yield Batch(found, start, line)
            found, told_at = array("I"), time.monotonic()
        time.sleep(0)  # the screen's thread wants its turn
    yield Batch(found, start, line)


class LineFilter:
    """The lines of an index that have a text, as far as it was scanned."""

    def __init__(self, needle: Needle) -> None:
        self.needle = needle
        self.lines = array("I")
        self.scanned_to, self.scanned_lines = 0, 0

    def take(self, batch: Batch) -> None:
        """Add the lines of a scan's batch."""
        self.lines.extend(batch.lines)
        self.scanned_to, self.scanned_lines = batch.scanned_to, batch.scanned_lines

    def catch_up(self, index: LogIndex, most_bytes: int) -> bool:
        """Look at the lines that were added, at most so many bytes of them. True when some have it."""
        before = len(self.lines)
        end = index.tail.end if index.tail.end - self.scanned_to <= most_bytes else self.scanned_to + most_bytes
        for data in whole_lines(index.descriptor, self.scanned_to, end):
            self.lines.extend(matching_lines(data, self.scanned_lines, self.needle))
            self.scanned_to += len(data)
            self.scanned_lines += data.count(b"\n")
        return len(self.lines) > before


def find_forward(descriptor: int, needle: Needle, start: int, end: int, is_unwanted: Callable[[], bool]) -> int | None:
    """Return the offset of the first one in a stretch that begins with a line; None when there is none."""
    for data in whole_lines(descriptor, start, end):
        if (hit := needle.ready(data).find(needle.pattern)) >= 0:
            return start + hit
        if is_unwanted():
            return None
        start += len(data)
        time.sleep(0)
    return None


def find_backward(descriptor: int, needle: Needle, start: int, end: int, is_unwanted: Callable[[], bool]) -> int | None:
    """Return the offset of the last one in a stretch; pieces overlap, so that one across their border is found."""
    overlap = len(needle.pattern) - 1
    while end > start and not is_unwanted():
        begin = max(start, end - CHUNK_BYTES)
        data = os.pread(descriptor, end - begin, begin)
        if (hit := needle.ready(data).rfind(needle.pattern)) >= 0:
            return begin + hit
        if begin == start:
            return None
        end = begin + overlap
        time.sleep(0)
    return None
