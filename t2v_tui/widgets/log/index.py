"""Where the lines of a growing file begin, in constant memory: the offset of every 256th line, the rest by reading.

1M lines of 100 characters take 31 KB of offsets; their page of 256 is found by `pread` when it is looked at.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from pathlib import Path

from t2v_tui.widgets.log.text import short_lines

EVERY = 256
CHUNK_BYTES = 256 * 1024
# Lines are counted in pieces of this size, and searched for one by one only in the piece that holds a 256th one.
PIECE_BYTES = 4096
# A longer file opens at its end; a worker counts what lies before.
TAIL_BYTES = 2 * 1024 * 1024
PAGES_KEPT = 32


class Fate(Enum):
    """What became of a file since it was opened."""

    SAME = "same"
    GONE = "gone"
    REPLACED = "replaced"
    TRUNCATED = "truncated"


class LineIndex:
    """The lines of one stretch of a file.

    start: offset of the first; end: just after the last newline; seen: as far as it was looked at
    marks: offset of lines 0, 256, 512, …
    """

    def __init__(self, start: int = 0) -> None:
        self.start = self.end = self.seen = start
        self.count = 0
        self.marks = array("Q", [start])

    def add(self, data: bytes) -> None:
        """Count what follows `seen`."""
        for begin in range(0, len(data), PIECE_BYTES):
            self._add_piece(data, begin, min(begin + PIECE_BYTES, len(data)))
        if (last := data.rfind(b"\n")) >= 0:
            self.end = self.seen + last + 1
        self.seen += len(data)

    def _add_piece(self, data: bytes, begin: int, end: int) -> None:
        left = data.count(b"\n", begin, end)
        while left >= (to_mark := EVERY - self.count % EVERY):
            for _ in range(to_mark):
                begin = data.find(b"\n", begin) + 1
            self.marks.append(self.seen + begin)
            self.count += to_mark
            left -= to_mark
        self.count += left


def count_lines(descriptor: int, start: int, end: int) -> LineIndex:
    """Count the lines of a stretch that begins and ends with one."""
    lines = LineIndex(start)
    while lines.seen < end and (data := os.pread(descriptor, min(CHUNK_BYTES, end - lines.seen), lines.seen)):
        lines.add(data)
    return lines


class LogIndex:
    """The lines of one open file. Use `close` when it is no longer looked at.

    head: what a worker has to count (0 … `head_end`) when the file was long already; None until it is known
    Raises OSError when the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        status = os.fstat(self.descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self.head: LineIndex | None = LineIndex(0)
        self.tail = LineIndex(self._start_of_tail(status.st_size))
        if self.tail.start:
            self.head = None
        self._pages: OrderedDict[tuple[int, int], list[bytes]] = OrderedDict()

    def _start_of_tail(self, size: int) -> int:
        if size <= 2 * TAIL_BYTES:
            return 0
        begin = size - TAIL_BYTES
        newline = os.pread(self.descriptor, TAIL_BYTES, begin).find(b"\n")
        return begin + newline + 1 if newline >= 0 else 0

    @property
    def head_end(self) -> int:
        """Return the offset up to which a worker counts: where the tail begins."""
        return self.tail.start

    def take_head(self, head: LineIndex) -> int:
        """Take what the worker counted; return by how many lines everything moves down."""
        self.head = head
        self._pages.clear()
        return head.count

    @property
    def is_counted(self) -> bool:
        """Tell whether line numbers are those of the file."""
        return self.head is not None

    @property
    def before_tail(self) -> int:
        """Return how many lines lie before the tail; 0 until they are counted."""
        return self.head.count if self.head is not None else 0

    @property
    def count(self) -> int:
        """Return how many lines can be shown, the one that is being written included."""
        return self.before_tail + self.tail.count + (self.tail.seen > self.tail.end)

    @property
    def whole_count(self) -> int:
        """Return how many lines end in a newline."""
        return self.before_tail + self.tail.count

    def grow(self, most_bytes: int) -> bool:
        """Take in what was added, at most so much of it. True when something was."""
        until = self.tail.seen + most_bytes
        before = self.tail.seen
        while self.tail.seen < until:
            data = os.pread(self.descriptor, min(CHUNK_BYTES, until - self.tail.seen), self.tail.seen)
            if not data:
                break
            self.tail.add(data)
        return self.tail.seen > before

    def fate(self) -> Fate:
        """Return what became of the file; `tail -F` asks the same of a name."""
        try:
            status = self.path.stat()
        except OSError:
            return Fate.GONE
        if (status.st_dev, status.st_ino) != self._identity:
            return Fate.REPLACED
        return Fate.TRUNCATED if status.st_size < self.tail.seen else Fate.SAME

    def line(self, number: int) -> bytes:
        """Return one line as it may be shown: no newline, collapsed and shortened; b"" beyond the end."""
        if number >= self.whole_count:
            return self._torn_line() if number < self.count else b""
        part, inside = self._place(number)
        page = self._page(part, inside // EVERY)
        return page[inside % EVERY] if inside % EVERY < len(page) else b""

    def is_torn(self, number: int) -> bool:
        """Tell whether the line is still being written."""
        return number >= self.whole_count

    def offset_of(self, number: int) -> int:
        """Return the offset at which a line begins."""
        if number >= self.whole_count:
            return self.tail.end
        part, inside = self._place(number)
        at, left = part.marks[inside // EVERY], inside % EVERY
        for data in self._chunks(at, part.end):
            position = 0
            while left and (newline := data.find(b"\n", position)) >= 0:
                position, left = newline + 1, left - 1
            if not left:
                return at + position
            at += len(data)
        return part.end

    def line_at(self, offset: int) -> int:
        """Return the number of the line that holds a byte."""
        part = self.tail if offset >= self.tail.start or self.head is None else self.head
        mark = bisect_right(part.marks, offset) - 1
        begin, between = part.marks[mark], 0
        while begin < offset and (data := os.pread(self.descriptor, min(CHUNK_BYTES, offset - begin), begin)):
            between += data.count(b"\n")
            begin += len(data)
        return (self.before_tail if part is self.tail else 0) + mark * EVERY + between

    def _place(self, number: int) -> tuple[LineIndex, int]:
        if self.head is not None and number < self.head.count:
            return self.head, number
        return self.tail, number - self.before_tail

    def _page(self, part: LineIndex, mark: int) -> list[bytes]:
        """256 lines, or what there is of the last page, which is read on from where it stopped."""
        key = (part.start, mark)
        page = self._pages.get(key)
        expected = min(EVERY, part.count - mark * EVERY)
        if page is None or len(page) < expected:
            end = part.marks[mark + 1] if mark + 1 < len(part.marks) else part.end
            page = list(islice(short_lines(self._chunks(part.marks[mark], end)), expected))
            self._pages[key] = page
            if len(self._pages) > PAGES_KEPT:
                self._pages.popitem(last=False)
        self._pages.move_to_end(key)
        return page

    def _torn_line(self) -> bytes:
        """A progress bar redraws one line for hours: its end is enough."""
        begin = max(self.tail.end, self.tail.seen - CHUNK_BYTES)
        return next(short_lines(iter([os.pread(self.descriptor, self.tail.seen - begin, begin) + b"\n"])))

    def _chunks(self, begin: int, end: int) -> Iterator[bytes]:
        while begin < end and (data := os.pread(self.descriptor, min(CHUNK_BYTES, end - begin), begin)):
            yield data
            begin += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
