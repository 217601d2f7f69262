"""A log in which text is found, and of which only the lines that have it are shown."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from textual import work
from textual.message import Message
from textual.worker import get_current_worker

from t2v_tui.widgets.log.index import LogIndex
from t2v_tui.widgets.log.lines import TICK_BYTES, LogLines
from t2v_tui.widgets.log.search import Batch, LineFilter, Needle, find_backward, find_forward, scan


class Found(Enum):
    """How a search ended."""

    HERE = "here"
    WRAPPED = "wrapped"
    NOWHERE = "nowhere"


class SearchableLog(LogLines):
    """`LogLines` with a filter and a search, both made by workers that read the file themselves."""

    class Scanned(Message, bubble=False):
        """A worker found lines for a filter."""

        def __init__(self, line_filter: LineFilter, batch: Batch) -> None:
            super().__init__()
            self.line_filter, self.batch = line_filter, batch

    class ScanEnded(Message, bubble=False):
        """From here on the filter is kept up with by the ticks."""

        def __init__(self, line_filter: LineFilter) -> None:
            super().__init__()
            self.line_filter = line_filter

    class SearchEnded(Message, bubble=True):
        """offset: of the hit in the file; None when there is none"""

        def __init__(self, index: LogIndex, offset: int | None, found: Found) -> None:
            super().__init__()
            self.index, self.offset, self.found = index, offset, found

    def __init__(self, path: Path | None = None, *, id: str | None = None) -> None:
        super().__init__(path, id=id)
        self.line_filter: LineFilter | None = None
        self._is_scanning = False

    @property
    def rows(self) -> int:
        """Return how many lines can be scrolled through: all, or those that the filter lets pass."""
        return len(self.line_filter.lines) if self.line_filter is not None else super().rows

    def line_of(self, row: int) -> int:
        """Return the number of the line that stands in a row, whatever the filter leaves out."""
        return self.line_filter.lines[row] if self.line_filter is not None else row

    def _open(self) -> None:
        self.line_filter, self._is_scanning = None, False
        super()._open()

    def _grow(self, index: LogIndex) -> bool:
        has_grown = super()._grow(index)
        if self.line_filter is None or self._is_scanning or not index.is_counted:
            return has_grown
        return self.line_filter.catch_up(index, TICK_BYTES) or has_grown

    def _moved_down(self, lines: int) -> None:
        if self.line_filter is None:
            super()._moved_down(lines)
        else:
            self.filter(self.line_filter.needle.text)

    def filter(self, text: str) -> None:
        """Show only lines that have `text`, those that come included; all lines for an empty one."""
        self._strips.clear()
        if not text or self.index is None:
            self.line_filter, self._is_scanning = None, False
            self.workers.cancel_group(self, "log-scan")
        else:
            self.line_filter = LineFilter(Needle(text))
            self._is_scanning = self.index.is_counted
            if self._is_scanning:
                self._scan(self.line_filter, self.index, self.index.tail.end)
        self.is_following = True
        self._place_rows()
        self.refresh()

    @work(thread=True, exclusive=True, group="log-scan", exit_on_error=False)
    def _scan(self, line_filter: LineFilter, index: LogIndex, end: int) -> None:
        worker, descriptor = get_current_worker(), os.dup(index.descriptor)
        try:
            for batch in scan(descriptor, line_filter.needle, 0, end, 0, is_unwanted=lambda: worker.is_cancelled):
                self.post_message(self.Scanned(line_filter, batch))
        finally:
            os.close(descriptor)
        if not worker.is_cancelled:
            self.post_message(self.ScanEnded(line_filter))

    def on_searchable_log_scanned(self, message: Scanned) -> None:
        """Show the lines that a worker found, unless the filter is another one by now."""
        if message.line_filter is self.line_filter:
            self.line_filter.take(message.batch)
            self._quiet = 0
            self._place_rows()

    def on_searchable_log_scan_ended(self, message: ScanEnded) -> None:
        """Leave it to the ticks to keep up with the filter."""
        if message.line_filter is self.line_filter:
            self._is_scanning = False

    def find(self, text: str, *, backward: bool = False) -> None:
        """Look for the next line that has `text`, from the current one or what is in sight; SearchEnded tells."""
        if self.index is None or not text or not self.index.is_counted or not self.rows:
            return
        self.needle = Needle(text)
        self._strips.clear()
        if self.current is not None:
            begin = self.current if backward else self.current + 1
        else:
            last = min(self.rows - 1, self.scroll_offset.y + self.size.height - 1)
            begin = self.line_of(last) + 1 if backward else self.line_of(self.scroll_offset.y)
        self._find(self.index, self.needle, self.index.offset_of(begin), backward)

    @work(thread=True, exclusive=True, group="log-find", exit_on_error=False)
    def _find(self, index: LogIndex, needle: Needle, offset: int, backward: bool) -> None:
        worker, descriptor, end = get_current_worker(), os.dup(index.descriptor), index.tail.end
        search = find_backward if backward else find_forward
        first, second = ((0, offset), (offset, end)) if backward else ((offset, end), (0, offset))
        try:
            hit, found = search(descriptor, needle, *first, lambda: worker.is_cancelled), Found.HERE
            if hit is None:
                hit, found = search(descriptor, needle, *second, lambda: worker.is_cancelled), Found.WRAPPED
        finally:
            os.close(descriptor)
        if not worker.is_cancelled:
            self.post_message(self.SearchEnded(index, hit, found if hit is not None else Found.NOWHERE))

    def show_hit(self, offset: int) -> None:
        """Make the line of a hit the current one; a filter that hides it goes."""
        if self.index is None:
            return
        line = self.index.line_at(offset)
        if self.line_filter is not None:
            self.filter("")
        self.current = line
        self._strips.clear()
        self.reveal(line)
        self.refresh()
