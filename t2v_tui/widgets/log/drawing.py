"""Rows of text drawn as strips, each once: levels, hits, marks and what the mouse drags over."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.geometry import Offset, Region, Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from t2v_tui.widgets.log.search import Needle
from t2v_tui.widgets.log.text import Level, level_of

COPY_LINES = 20_000


class DrawnLines(ScrollView):
    """Draws the rows in sight. What rows there are, a class below knows."""

    ALLOW_SELECT = True
    DEFAULT_CSS = """
    DrawnLines {
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

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.needle: Needle | None = None
        self.current: int | None = None
        self.marked: tuple[int, int] | None = None
        self._width = 0
        self._plain: Style | None = None
        self._strips: LRUCache[int, Strip] = LRUCache(512)

    @property
    def rows(self) -> int:
        """Return how many rows there are."""
        raise NotImplementedError

    def line_of(self, row: int) -> int:
        """Return what the row's strip is kept under, and `current` means."""
        raise NotImplementedError

    def text_of(self, row: int) -> str:
        """Return the text of a row."""
        raise NotImplementedError

    def may_change(self, row: int) -> bool:
        """Tell whether the row's text may still change."""
        raise NotImplementedError

    def set_rows(self, rows: int) -> None:
        """Set how many there are now.

        `virtual_size` lays out the whole screen again, which takes 20 ms; a bar does not.
        """
        if self._width == self.virtual_size.width:
            size = Size(self._width, rows)
            self.set_reactive(Widget.virtual_size, size)
            self._scroll_update(size)
        else:
            self.virtual_size = Size(self._width, rows)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw without the usual way through borders and padding, of which there are none.

        That way takes a third of a flood's time.
        """
        strips = [self.render_line(y) for y in range(crop.y, crop.bottom)]
        if crop.x == 0 and crop.width == self.size.width:
            return strips
        return [strip.crop(crop.x, crop.right) for strip in strips]

    def render_line(self, y: int) -> Strip:
        """Draw one row, as far as it is in sight; blank below the last one."""
        (left, top), width = self.scroll_offset, self.size.width
        row = top + y
        if row >= self.rows:
            return Strip.blank(width, self._base())
        return self._strip(row).crop_extend(left, left + width, self._base()).apply_offsets(left, row)

    def _base(self) -> Style:
        """The style of plain text; asking for it afresh takes as long as drawing a line."""
        if self._plain is None:
            self._plain = self.rich_style
        return self._plain

    def _strip(self, row: int) -> Strip:
        line = self.line_of(row)
        is_cachable = self.marked is None and self.text_selection is None and not self.may_change(row)
        if is_cachable and (kept := self._strips.get(line)) is not None:
            return kept
        text = self.text_of(row)
        strip = Strip(self._segments(row, line, text))
        for line_filter in self.get_line_filters():
            strip = strip.apply_filter(line_filter, self.background_colors[1])
        if strip.cell_length > self._width:
            self._width = strip.cell_length
            self.call_later(self._widen)
        if is_cachable:
            self._strips[line] = strip
        return strip

    def _widen(self) -> None:
        self.virtual_size = Size(self._width, self.rows)

    def _segments(self, row: int, line: int, text: str) -> list[Segment]:
        base = self._base_style(row, line, level_of(text))
        spans = [(a, b, "log--found") for a, b in self.needle.spans(text)] if self.needle is not None else []
        if self.text_selection is not None and (chosen := self.text_selection.get_span(row)) is not None:
            spans = [(chosen[0], len(text) if chosen[1] == -1 else chosen[1], "screen--selection")]
        parts, at = [], 0
        for begin, end, name in spans:
            parts += [Segment(text[at:begin], base), Segment(text[begin:end], base + self._named(name))]
            at = end
        return [part for part in [*parts, Segment(text[at:], base)] if part.text]

    def _base_style(self, row: int, line: int, level: Level) -> Style:
        if self.marked is not None and min(self.marked) <= row <= max(self.marked):
            return self.get_component_rich_style("log--marked")
        if line == self.current:
            return self.get_component_rich_style("log--current")
        if level is Level.PLAIN:
            return self._base()
        return self.get_component_rich_style(f"log--{level.value}")

    def _named(self, name: str) -> Style:
        if name.startswith("screen"):
            return self.screen.get_component_rich_style(name, partial=True)
        return self.get_component_rich_style(name, partial=True)

    def notify_style_update(self) -> None:
        """Drop what was drawn in the old style."""
        super().notify_style_update()
        self._plain = None
        self._strips.clear()

    # Taking text away

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return what was dragged over, at most 20,000 lines of it."""
        first = selection.start.y if selection.start is not None else 0
        last = min(selection.end.y if selection.end is not None else self.rows - 1, first + COPY_LINES - 1)
        text = "\n".join(self.text_of(row) for row in range(first, last + 1))
        start = None if selection.start is None else Offset(selection.start.x, 0)
        end = None if selection.end is None else Offset(selection.end.x, selection.end.y - first)
        return Selection(start, end).extract(text), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002 - Textual's
        """Draw what the mouse drags over."""
        self._strips.clear()
        self.refresh()

    def rows_in_sight(self) -> tuple[int, int]:
        """Return the first and last row in sight."""
        top = self.scroll_offset.y
        return top, max(top, min(self.rows, top + self.size.height) - 1)

    def forget_hits(self) -> None:
        """Drop what is looked for and the current hit, and draw without them."""
        self.needle = self.current = None
        self._strips.clear()
        self.refresh()
