"""Lines of a log as strips, each drawn once: in the colour of its level, with hits and what the mouse drags over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.geometry import Offset
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from t2v_tui.widgets.log.wrapping import Part

COPY_LINES = 20_000
# (begin, end, name of the style) of a part of a line.
Span = tuple[int, int, str]


class LineStrips:
    """Draws for one widget, in the styles of its component classes, and keeps what it drew.

    width: of the widest line so far, in cells
    """

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self.width = 0
        self._plain: Style | None = None
        self._kept: LRUCache[int, Strip] = LRUCache(512)

    @property
    def base(self) -> Style:
        """Return the style of plain text as it is drawn; asking for it afresh takes as long as drawing a line."""
        if self._plain is None:
            blank = Strip([Segment(" ", self._widget.rich_style)])
            for line_filter in self._widget.get_line_filters():  # as NO_COLOR's: what fills a line passes none later
                blank = blank.apply_filter(line_filter, self._widget.background_colors[1])
            self._plain = next(iter(blank)).style or self._widget.rich_style
        return self._plain

    def kept(self, line: int) -> Strip | None:
        """Return the strip of a line that was drawn with `keeps` and not forgotten."""
        return self._kept.get(line)

    def forget(self) -> None:
        """Draw every line again when it is wanted next."""
        self._kept.clear()

    def forget_styles(self) -> None:
        """Drop what was drawn in the old style."""
        self._plain = None
        self.forget()

    def draw(self, line: int, text: str, whole: str, parts: Sequence[Span], *, keeps: bool) -> Strip:
        """Draw a line.

        whole: component class of all of it; "" for plain text
        parts: what looks different, from left to right
        keeps: as long as nothing is forgotten, the line looks like this
        """
        style = self._widget.get_component_rich_style(whole) if whole else self.base
        segments, at = [], 0
        for begin, end, name in parts:
            segments += [Segment(text[at:begin], style), Segment(text[begin:end], style + self._named(name))]
            at = end
        strip = Strip([part for part in [*segments, Segment(text[at:], style)] if part.text])
        for line_filter in self._widget.get_line_filters():
            strip = strip.apply_filter(line_filter, self._widget.background_colors[1])
        self.width = max(self.width, strip.cell_length)
        if keeps:
            self._kept[line] = strip
        return strip

    def _named(self, name: str) -> Style:
        source = self._widget.screen if name.startswith("screen") else self._widget
        return source.get_component_rich_style(name, partial=True)


def chosen_of(selection: Selection, rows: int, text_of: Callable[[int], str]) -> str:
    """Return what was dragged over, at most 20,000 lines of it."""
    first = selection.start.y if selection.start is not None else 0
    last = min(selection.end.y if selection.end is not None else rows - 1, first + COPY_LINES - 1)
    text = "\n".join(text_of(row) for row in range(first, last + 1))
    start = None if selection.start is None else Offset(selection.start.x, 0)
    end = None if selection.end is None else Offset(selection.end.x, selection.end.y - first)
    return Selection(start, end).extract(text)


def wrapped_strips(parts: Sequence[Part], strip_of: Callable[[int], Strip], width: int, base: Style) -> list[Strip]:
    """Return a strip of `width` cells for each part of a row, cut out of that of its row."""
    return [
        strip_of(part.row)
        .crop_extend(part.begin, part.end, base)
        .adjust_cell_length(width, base)
        .apply_offsets(part.begin, part.row)
        for part in parts
    ]
