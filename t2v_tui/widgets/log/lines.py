"""The lines of a log file on the screen: only those in sight are read, drawn at most twelve times a second."""

from __future__ import annotations

import os
from pathlib import Path

from textual import work
from textual.events import Resize
from textual.message import Message

from t2v_tui.widgets.log.drawing import DrawnLines
from t2v_tui.widgets.log.index import Fate, Lines, LogIndex, count_lines
from t2v_tui.widgets.log.text import clean

REPAINTS_A_SECOND = 12
# What one tick may read: 96 MB/s, in about 6 ms each. A log that grew by more is caught up with in the next ticks.
TICK_BYTES = 8 * 1024 * 1024
# A log that was quiet for so many ticks is looked at a third as often.
QUIET_TICKS = 24


class LogLines(DrawnLines, can_focus=True):
    """Shows one file, which may grow, be cut or be replaced meanwhile, and follows its end."""

    class Changed(Message):
        """Lines came, the view moved, or what is looked for was found; at most twelve times a second."""

    class Restarted(Message):
        """The file is another one than before."""

        def __init__(self, fate: Fate) -> None:
            super().__init__()
            self.fate = fate

    class HeadCounted(Message, bubble=False):
        """A worker counted what lies before the tail."""

        def __init__(self, index: LogIndex, head: Lines) -> None:
            super().__init__()
            self.index, self.head = index, head

    def __init__(self, path: Path | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.path = path
        self.index: LogIndex | None = None
        self.is_following = True
        self.seen_rows = 0
        self._is_placing = self._has_changed = False
        self._quiet = 0

    def on_mount(self) -> None:
        """Open the file, and look at it twelve times a second."""
        self.set_interval(1 / REPAINTS_A_SECOND, self._tick)
        self._open()

    def on_unmount(self) -> None:
        """Close the file, and cancel the workers that read it."""
        self._close()

    def show(self, path: Path | None) -> None:
        """Look at another file, from its end."""
        self.path = path
        self._close()
        self.needle = self.current = self.marked = None
        self.is_following = True
        self._open()

    @property
    def rows(self) -> int:
        """Return how many lines can be scrolled through."""
        return self.index.count if self.index is not None else 0

    @property
    def unseen(self) -> int:
        """Return how many rows came since the end was in sight."""
        return 0 if self.is_following else max(0, self.rows - self.seen_rows)

    def line_of(self, row: int) -> int:
        """Return the number of the line that stands in a row, counted from 0."""
        return row

    def text_of(self, row: int) -> str:
        """Return the text of a row, with nothing that a terminal would obey; empty beyond the end."""
        return clean(self.index.line(self.line_of(row))) if self.index is not None and row < self.rows else ""

    def may_change(self, row: int) -> bool:
        """Tell whether the row's line is still being written."""
        return self.index is None or self.index.is_torn(self.line_of(row))

    # The file

    def _open(self) -> None:
        self._strips.clear()
        self._width = 0
        if self.path is not None:
            try:
                self.index = LogIndex(self.path)
            except OSError:
                self.index = None
        if self.index is not None:
            self.index.grow(TICK_BYTES)
            if not self.index.is_counted:
                self._count_head(self.index)
        self._place_rows()

    def _close(self) -> None:
        self.workers.cancel_node(self)
        if self.index is not None:
            self.index.close()
            self.index = None

    def _tick(self) -> None:
        self._quiet += 1
        if self._quiet > QUIET_TICKS and self._quiet % 3:
            return
        if self.index is None:
            if self.path is not None and self.path.exists():
                self._open()
            return
        if (fate := self.index.fate()) in (Fate.REPLACED, Fate.TRUNCATED):
            self._close()
            self.current = self.marked = None
            self._open()
            self.post_message(self.Restarted(fate))
            return
        if self._grow(self.index):
            self._quiet = 0
            self._place_rows()
        if self._has_changed:
            self._has_changed = False
            self.post_message(self.Changed())

    def _grow(self, index: LogIndex) -> bool:
        """Take in what came; True when there is something to show."""
        return index.grow(TICK_BYTES)

    @work(thread=True, exclusive=True, group="log-head", exit_on_error=False)
    def _count_head(self, index: LogIndex) -> None:
        descriptor = os.dup(index.descriptor)
        try:
            self.post_message(self.HeadCounted(index, count_lines(descriptor, 0, index.head_end)))
        finally:
            os.close(descriptor)

    def on_log_lines_head_counted(self, message: HeadCounted) -> None:
        """Take in how many lines lie before the tail; all others move down."""
        if message.index is not self.index:
            return
        shift = self.index.take_head(message.head)
        self._strips.clear()
        self._moved_down(shift)

    def _moved_down(self, lines: int) -> None:
        """Every line has a higher number now."""
        y = self.scroll_offset.y + lines
        self.seen_rows += lines
        self._place_rows(None if self.is_following else y)

    # Where we look

    def _place_rows(self, y: int | None = None) -> None:
        """After the rows changed: to the end when it is followed, to row `y` when given, else stay."""
        self._is_placing = True
        self.set_rows(self.rows)
        if self.is_following:
            self.seen_rows = self.rows
            y = self.max_scroll_y
        if y is not None and y != self.scroll_offset.y:
            self.scroll_to(y=y, animate=False)
        elif self.rows <= self.scroll_offset.y + self.size.height + 1 or y is not None:
            self.refresh()
        self._is_placing = False
        self._has_changed = True

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow while the end is in sight, and count what is unseen from when it no longer is."""
        super().watch_scroll_y(old_value, new_value)
        if self._is_placing:
            return
        was_following = self.is_following
        self.is_following = new_value >= self.max_scroll_y and self.marked is None
        if was_following and not self.is_following:
            self.seen_rows = self.rows
        self._has_changed = True

    def on_resize(self, _: Resize) -> None:
        """Stay at the end when it is followed."""
        if self.is_following:
            self._place_rows()

    def follow(self) -> None:
        """Go to the end and stay there; marks go."""
        self.is_following, self.marked = True, None
        self._place_rows()
        self.refresh()

    def move(self, rows: int) -> None:
        """Scroll at once; upwards ends following."""
        self.scroll_to(y=max(0, min(self.max_scroll_y, self.scroll_offset.y + rows)), animate=False)

    def reveal(self, row: int) -> None:
        """Bring a row into sight, with some rows around it."""
        top, height = self.scroll_offset.y, self.size.height
        if not top <= row < top + height:
            self.is_following = False
            self.scroll_to(y=max(0, min(self.max_scroll_y, row - height // 3)), animate=False)

    def mark(self, rows: tuple[int, int] | None) -> None:
        """Mark rows, from which to which in the order they were chosen; None ends it. Following rests meanwhile."""
        self.marked = rows
        if rows is not None:
            self.is_following = False
            self.seen_rows = max(self.seen_rows, self.rows)
            self.reveal(rows[1])
        self._strips.clear()
        self.refresh()
