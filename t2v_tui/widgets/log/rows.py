"""The rows of a log: the lines of a file that may grow, or those that a filter lets pass. It knows no screen."""

from __future__ import annotations

from pathlib import Path

from t2v_tui.widgets.log.index import LogIndex
from t2v_tui.widgets.log.search import LineFilter
from t2v_tui.widgets.log.text import clean

# What one tick may read: 96 MB/s, in about 6 ms each. A log that grew by more is caught up with in the next ticks.
TICK_BYTES = 8 * 1024 * 1024


class LogRows:
    """Rows are counted from 0 in what is shown, lines from 0 in the file."""

    def __init__(self) -> None:
        self.index: LogIndex | None = None
        self.line_filter: LineFilter | None = None
        self.is_scanning = False  # a worker looks for the lines of the filter; until it is done, ticks leave that to it

    def open(self, path: Path) -> None:
        """Take the lines of a file, unfiltered; no rows when it cannot be opened."""
        self.line_filter, self.is_scanning = None, False
        try:
            self.index = LogIndex(path)
        except OSError:
            self.index = None
            return
        self.index.grow(TICK_BYTES)

    def close(self) -> None:
        """Close the file; there are no rows then."""
        self.line_filter, self.is_scanning = None, False
        if self.index is not None:
            self.index.close()
            self.index = None

    @property
    def count(self) -> int:
        """Return how many rows can be scrolled through."""
        if self.line_filter is not None:
            return len(self.line_filter.lines)
        return self.index.count if self.index is not None else 0

    def line_of(self, row: int) -> int:
        """Return the number of the line that stands in a row, whatever the filter leaves out."""
        return self.line_filter.lines[row] if self.line_filter is not None else row

    def text_of(self, row: int) -> str:
        """Return the text of a row, with nothing that a terminal would obey; empty beyond the end."""
        return clean(self.index.line(self.line_of(row))) if self.index is not None and row < self.count else ""

    def may_change(self, row: int) -> bool:
        """Tell whether the row's line is still being written."""
        return self.index is None or self.index.is_torn(self.line_of(row))

    def grow(self) -> bool:
        """Take in what was added to the file; True when there is something to show."""
        if self.index is None:
            return False
        has_grown = self.index.grow(TICK_BYTES)
        if self.line_filter is None or self.is_scanning or not self.index.is_counted:
            return has_grown
        return self.line_filter.catch_up(self.index, TICK_BYTES) or has_grown
