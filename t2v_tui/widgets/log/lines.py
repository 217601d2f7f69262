"""The lines of a log file on the screen: only those in sight are read, drawn at most twelve times a second."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.events import Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from t2v_tui.widgets.log.drawing import LineStrips, Span, chosen_of, wrapped_strips
from t2v_tui.widgets.log.index import Fate, LogIndex
from t2v_tui.widgets.log.looking import Looks
from t2v_tui.widgets.log.rows import LogRows
from t2v_tui.widgets.log.scans import HeadCounted, LogScans, ScanEnded, Scanned
from t2v_tui.widgets.log.search import LineFilter, Needle
from t2v_tui.widgets.log.text import Level, level_of
from t2v_tui.widgets.log.wrapping import Part, in_sight, last_top


class LogLines(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows one file, which may grow, be cut or be replaced meanwhile, and follows its end.

    What is shown is in `LogRows`, how it looks in `LineStrips`, and `LogScans` reads what takes long.
    wraps: a long line takes several on the screen; else it is scrolled sideways
    current: line of the hit that was found last; marked: rows, from which to which in the order they were chosen
    """

    ALLOW_SELECT = True
    DEFAULT_CSS = """
    LogLines {
        background: $surface;
        color: $foreground;
        overflow-x: auto;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-size-horizontal: 1;
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--error", "log--warning", "log--debug", "log--found", "log--current", "log--marked",
    }  # fmt: skip

    class Changed(Message):
        """Lines came, the view moved, or what is looked for was found; at most twelve times a second."""

    class Restarted(Message):
        """The file is another one than before."""

        def __init__(self, fate: Fate) -> None:
            super().__init__()
            self.fate = fate

    def __init__(self, path: Path | None = None, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.path = path
        self.needle: Needle | None = None
        self.current: int | None = None
        self.marked: tuple[int, int] | None = None
        self.is_following = True
        self.wraps = False
        self.seen_rows = 0
        self._log, self._strips, self._scans = LogRows(), LineStrips(self), LogScans(self)
        self._is_placing = self._has_changed = False
        self._placed_in = Size()
        self._looks: Looks | None = None

    @property
    def index(self) -> LogIndex | None:
        """Return the lines of the file; None while there is none."""
        return self._log.index

    @property
    def line_filter(self) -> LineFilter | None:
        """Return what leaves lines out; None when all are shown."""
        return self._log.line_filter

    @property
    def rows(self) -> int:
        """Return how many lines can be scrolled through: all, or those that the filter lets pass."""
        return self._log.count

    @property
    def unseen(self) -> int:
        """Return how many rows came since the end was in sight."""
        return 0 if self.is_following else max(0, self.rows - self.seen_rows)

    def line_of(self, row: int) -> int:
        """Return the number of the line that stands in a row, whatever the filter leaves out."""
        return self._log.line_of(row)

    def text_of(self, row: int) -> str:
        """Return the text of a row, with nothing that a terminal would obey; empty beyond the end."""
        return self._log.text_of(row)

    # The file

    def on_mount(self) -> None:
        """Open the file, and look at it as often as lines come."""
        self._looks = Looks(self, self._look_at_file)
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

    def _open(self) -> None:
        self._strips.forget()
        self._strips.width = 0
        if self.path is not None:
            self._log.open(self.path)
        if self.index is not None and not self.index.is_counted:
            self._scans.count_head(self.index)
        self._place_rows()

    def _close(self) -> None:
        self.workers.cancel_node(self)
        self._log.close()

    def _stir(self) -> None:
        if self._looks is not None:
            self._looks.stir()

    def _look_at_file(self) -> None:
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
        if self._log.grow():
            self._stir()
            self._place_rows()
        if self._has_changed:
            self._has_changed = False
            self.post_message(self.Changed())

    @on(HeadCounted)
    def _take_head(self, message: HeadCounted) -> None:
        """All other lines move down; a filter looks through those that are new."""
        if self.index is None or message.index is not self.index:
            return
        shift = self.index.take_head(message.head)
        self._strips.forget()
        if self.line_filter is not None:
            self.filter(self.line_filter.needle.text)
            return
        y = self.scroll_offset.y + shift
        self.seen_rows += shift
        self._place_rows(None if self.is_following else y)

    # Finding and filtering

    def filter(self, text: str) -> None:
        """Show only lines that have `text`, those that come included; all lines for an empty one."""
        self._strips.forget()
        self._log.line_filter, self._log.is_scanning = None, False
        if not text or self.index is None:
            self._scans.stop_scan()
        else:
            self._log.line_filter = LineFilter(Needle(text))
            self._log.is_scanning = self.index.is_counted
            if self.index.is_counted:
                self._scans.scan(self._log.line_filter, self.index)
        self.is_following = True
        self._place_rows()
        self.refresh()

    @on(Scanned)
    def _take_scanned(self, message: Scanned) -> None:
        if self.line_filter is not None and message.line_filter is self.line_filter:
            self.line_filter.take(message.batch)
            self._stir()
            self._place_rows()

    @on(ScanEnded)
    def _end_scan(self, message: ScanEnded) -> None:
        if message.line_filter is self.line_filter:
            self._log.is_scanning = False

    def find(self, text: str, *, backward: bool = False) -> None:
        """Look for the next line that has `text`, from the current one or what is in sight; SearchEnded tells."""
        if self.index is None or not text or not self.index.is_counted or not self.rows:
            return
        self.needle = Needle(text)
        self._strips.forget()
        if self.current is not None:
            begin = self.current if backward else self.current + 1
        else:
            last = min(self.rows - 1, self.scroll_offset.y + self._room.height - 1)
            begin = self.line_of(last) + 1 if backward else self.line_of(self.scroll_offset.y)
        self._scans.find(self.index, self.needle, self.index.offset_of(begin), backward=backward)

    def show_hit(self, offset: int) -> None:
        """Make the line of a hit the current one; a filter that hides it goes."""
        if self.index is None:
            return
        line = self.index.line_at(offset)
        if self.line_filter is not None:
            self.filter("")
        self.current = line
        self._strips.forget()
        self.reveal(line)
        self.refresh()

    def forget_hits(self) -> None:
        """Drop what is looked for and the current hit, and draw without them."""
        self.needle = self.current = None
        self._strips.forget()
        self.refresh()

    # Where we look

    def _place_rows(self, y: int | None = None) -> None:
        """After the rows changed: to the end when it is followed, to row `y` when given, else stay."""
        self._is_placing = True
        self._set_size()
        if self.is_following:
            self.seen_rows = self.rows
            y = self.max_scroll_y
        if y is not None and y != self.scroll_offset.y:
            self.scroll_to(y=y, animate=False)
        elif self.rows <= self.scroll_offset.y + self.size.height + 1 or y is not None:
            self.refresh()
        self._is_placing = False
        self._note_change()

    def _note_change(self) -> None:
        """Tell of it with the next look, which comes soon."""
        self._has_changed = True
        self._stir()

    def _set_size(self) -> None:
        """`virtual_size` lays out the whole screen again, which takes 20 ms; a bar does not."""
        size = self._virtual()
        if size.width == self.virtual_size.width:
            self.set_reactive(Widget.virtual_size, size)
            self._scroll_update(size)
        else:
            self.virtual_size = size

    def _virtual(self) -> Size:
        """What can be scrolled over: wrapped, down to the row from which on the last ones fill the screen."""
        if not self.wraps:
            return Size(self._strips.width, self.rows)
        width, height = self._room
        return Size(width, last_top(self.rows, self.text_of, width, height) + height)

    @property
    def _room(self) -> Size:
        """Where lines go: `size` has the bars at the right and below in it."""
        return self.scrollable_content_region.size

    def _parts_in_sight(self) -> list[Part]:
        """What stands on each line of the screen, wrapped."""
        return in_sight(self.scroll_offset.y, self.rows, self.text_of, *self._room)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow while the end is in sight, and count what is unseen from when it no longer is."""
        super().watch_scroll_y(old_value, new_value)
        if self._is_placing:
            return
        was_following = self.is_following
        self.is_following = new_value >= self.max_scroll_y and self.marked is None
        if was_following and not self.is_following:
            self.seen_rows = self.rows
        self._note_change()

    def on_resize(self, event: Resize) -> None:
        """Stay at the end when it is followed; what was only hidden is painted already."""
        before, self._placed_in = self._placed_in, event.size
        if self.is_following and event.size != before:
            self._place_rows()
        elif self.wraps:
            self._set_size()

    def rows_in_sight(self) -> tuple[int, int]:
        """Return the first and last row in sight."""
        top = self.scroll_offset.y
        if self.wraps and (parts := self._parts_in_sight()):
            return parts[0].row, parts[-1].row
        return top, max(top, min(self.rows, top + self._room.height) - 1)

    def follow(self) -> None:
        """Go to the end and stay there; marks go."""
        self.is_following, self.marked = True, None
        self._place_rows()
        self.refresh()

    def move(self, rows: int) -> None:
        """Scroll at once; upwards ends following."""
        self.scroll_to(y=max(0, min(self.max_scroll_y, self.scroll_offset.y + rows)), animate=False)

    def wrap(self, *, wraps: bool) -> None:
        """Wrap long lines, or leave them whole; the row at the top stays there."""
        self.wraps, top = wraps, self.scroll_offset.y
        self.scroll_to(x=0, animate=False)
        self._place_rows(None if self.is_following else top)
        self.refresh()

    def reveal(self, row: int) -> None:
        """Bring a row into sight, with some rows around it."""
        height = self._room.height
        first, last = self.rows_in_sight()
        if not first <= row <= last:
            self.is_following = False
            self.scroll_to(y=max(0, min(self.max_scroll_y, row - height // 3)), animate=False)

    def mark(self, rows: tuple[int, int] | None) -> None:
        """Mark rows; None ends it. Following rests meanwhile."""
        self.marked = rows
        if rows is not None:
            self.is_following = False
            self.seen_rows = max(self.seen_rows, self.rows)
            self.reveal(rows[1])
        self._strips.forget()
        self.refresh()

    # What is drawn, and taken away

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw without the usual way through borders and padding, of which there are none.

        That way takes a third of a flood's time.
        """
        if self.wraps:
            base = self._strips.base
            shown = wrapped_strips(self._parts_in_sight(), self._strip, self.size.width, base)
            blank = Strip.blank(self.size.width, base)
            strips = [shown[y] if y < len(shown) else blank for y in range(crop.y, crop.bottom)]
        else:
            strips = [self.render_line(y) for y in range(crop.y, crop.bottom)]
        if crop.x == 0 and crop.width == self.size.width:
            return strips
        return [strip.crop(crop.x, crop.right) for strip in strips]

    def render_line(self, y: int) -> Strip:
        """Draw one row, as far as it is in sight; blank below the last one."""
        (left, top), width, base = self.scroll_offset, self.size.width, self._strips.base
        row = top + y
        if row >= self.rows:
            return Strip.blank(width, base)
        return self._strip(row).crop_extend(left, left + width, base).apply_offsets(left, row)

    def _strip(self, row: int) -> Strip:
        line = self.line_of(row)
        is_settled = self.marked is None and self.text_selection is None and not self._log.may_change(row)
        if is_settled and (kept := self._strips.kept(line)) is not None:
            return kept
        text, width = self.text_of(row), self._strips.width
        strip = self._strips.draw(line, text, self._look(row, line, text), self._parts(row, text), keeps=is_settled)
        if self._strips.width > width and not self.wraps:
            self.call_later(self._set_size)
        return strip

    def _look(self, row: int, line: int, text: str) -> str:
        if self.marked is not None and min(self.marked) <= row <= max(self.marked):
            return "log--marked"
        if line == self.current:
            return "log--current"
        level = level_of(text)
        return "" if level is Level.PLAIN else f"log--{level.value}"

    def _parts(self, row: int, text: str) -> list[Span]:
        if self.text_selection is not None and (chosen := self.text_selection.get_span(row)) is not None:
            return [(chosen[0], len(text) if chosen[1] == -1 else chosen[1], "screen--selection")]
        return [(a, b, "log--found") for a, b in self.needle.spans(text)] if self.needle is not None else []

    def notify_style_update(self) -> None:
        """Drop what was drawn in the old style."""
        super().notify_style_update()
        self._strips.forget_styles()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return what was dragged over, at most 20,000 lines of it."""
        return chosen_of(selection, self.rows, self.text_of), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # Textual's
        """Draw what the mouse drags over."""
        self._strips.forget()
        self.refresh()
