"""What takes long in a log is read by threads of its widget: counting lines, finding text, the lines of a filter.

Each reads the file by itself and answers with a message. A later one of its kind ends the one before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from textual.message import Message
from textual.widget import Widget
from textual.worker import Worker, get_current_worker

from t2v_tui.widgets.log.index import LineIndex, LogIndex, count_lines
from t2v_tui.widgets.log.search import Batch, LineFilter, Needle, find_backward, find_forward, scan


class Found(Enum):
    """How a search ended."""

    HERE = "here"
    WRAPPED = "wrapped"
    NOWHERE = "nowhere"


class HeadCounted(Message, bubble=False):
    """What lies before the tail is counted."""

    def __init__(self, index: LogIndex, head: LineIndex) -> None:
        super().__init__()
        self.index, self.head = index, head


class Scanned(Message, bubble=False):
    """Lines for a filter are found."""

    def __init__(self, line_filter: LineFilter, batch: Batch) -> None:
        super().__init__()
        self.line_filter, self.batch = line_filter, batch


class ScanEnded(Message, bubble=False):
    """From here on the filter is kept up with by the ticks."""

    def __init__(self, line_filter: LineFilter) -> None:
        super().__init__()
        self.line_filter = line_filter


class SearchEnded(Message):
    """offset: of the hit in the file; None when there is none"""

    def __init__(self, index: LogIndex, offset: int | None, found: Found) -> None:
        super().__init__()
        self.index, self.offset, self.found = index, offset, found


class LogScans:
    """Starts the threads of one widget, which their messages go to."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget

    def count_head(self, index: LogIndex) -> None:
        """Count the lines before the tail; HeadCounted tells."""

        def work() -> None:
            with _own_descriptor(index) as descriptor:
                self._widget.post_message(HeadCounted(index, count_lines(descriptor, 0, index.head_end)))

        self._start(work, "log-head")

    def scan(self, line_filter: LineFilter, index: LogIndex) -> None:
        """Look for all lines that pass the filter, as far as the file goes now; Scanned and ScanEnded tell."""
        end = index.tail.end

        def work() -> None:
            worker = get_current_worker()
            with _own_descriptor(index) as descriptor:
                for batch in scan(descriptor, line_filter.needle, 0, end, 0, is_unwanted=lambda: worker.is_cancelled):
                    self._widget.post_message(Scanned(line_filter, batch))
            if not worker.is_cancelled:
                self._widget.post_message(ScanEnded(line_filter))

        self._start(work, "log-scan")

    def stop_scan(self) -> None:
        """End the scan for a filter that is gone."""
        self._widget.workers.cancel_group(self._widget, "log-scan")

    def find(self, index: LogIndex, needle: Needle, offset: int, *, backward: bool) -> None:
        """Look for the next hit from an offset, then round the end to it; SearchEnded tells."""
        end = index.tail.end
        search = find_backward if backward else find_forward
        first, second = ((0, offset), (offset, end)) if backward else ((offset, end), (0, offset))

        def work() -> None:
            worker = get_current_worker()
            with _own_descriptor(index) as descriptor:
                hit, found = search(descriptor, needle, *first, lambda: worker.is_cancelled), Found.HERE
                if hit is None:
                    hit, found = search(descriptor, needle, *second, lambda: worker.is_cancelled), Found.WRAPPED
            if not worker.is_cancelled:
                self._widget.post_message(SearchEnded(index, hit, found if hit is not None else Found.NOWHERE))

        self._start(work, "log-find")

    def _start(self, work: Callable[[], None], group: str) -> Worker[None]:
        return self._widget.run_worker(work, group=group, exclusive=True, exit_on_error=False, thread=True)


@contextmanager
def _own_descriptor(index: LogIndex) -> Iterator[int]:
    """One of the thread's own: the index may be closed meanwhile."""
    descriptor = os.dup(index.descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
