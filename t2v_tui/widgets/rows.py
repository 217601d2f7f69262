"""Rows to choose from, of which only those in sight are drawn, and again only when they read differently.

A DataTable draws all its rows for one cell, and takes 30 ms for a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

MOST_KEPT = 500  # strips; a screen has less than a hundred rows


class RowList(ScrollView, can_focus=True):
    """Rows by key; the cursor stays on its row when their order changes. Children say how a row is drawn.

    heads: lines above the rows, which stay when these scroll
    """

    PANE = "list"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "down", show=False, id="list.down"),
        Binding("k", "cursor_up", "up", show=False, id="list.up"),
        Binding("g", "scroll_top", "first", show=False, id="list.first"),
        Binding("G", "scroll_bottom", "last", show=False, id="list.last"),
        Binding("ctrl+d", "page_down", "page down", show=False, id="list.page-down"),
        Binding("ctrl+u", "page_up", "page up", show=False, id="list.page-up"),
        Binding("down", "cursor_down", "down", show=False),
        Binding("up", "cursor_up", "up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("home", "scroll_top", "first", show=False),
        Binding("end", "scroll_bottom", "last", show=False),
        Binding("enter", "select", "open", show=False),
    ]
    DEFAULT_CSS = """
    RowList { height: 1fr; background: $background; overflow-x: hidden; }
    RowList .rows--hover { background: $block-hover-background; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor", "rows--hover"}

    class OfRows(Message):
        def __init__(self, rows: RowList) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> RowList:
            """Return the list, which a selector of `on` asks for."""
            return self.rows

    class Highlighted(OfRows):
        """The cursor stands on another row."""

    class Selected(OfRows):
        """The row with the cursor is to be opened."""

    def __init__(self, *, id: str | None = None, heads: int = 0) -> None:
        super().__init__(id=id)
        self.keys: list[str] = []
        self.cursor = 0
        self.heads = heads
        self._hovered = -1
        self._drawn: dict[tuple[str, Style], Strip] = {}
        self._style: Style | None = None  # of all lines that are drawn in one go
        self._drawn_in = 0

    # For children

    def segments(self, key: str, style: Style, over: Style) -> Iterable[Segment]:
        """Return a row. style: what its parts add to; over: what holds whatever a part says"""
        raise NotImplementedError

    def head_line(self, y: int) -> Strip:
        """Return one of the lines above the rows."""
        raise NotImplementedError

    def lay_out(self, keys: list[str], cursor: int) -> None:
        """Show other rows, or the same in another order, and put the cursor on one of them."""
        chosen, count = self.chosen, len(self.keys)
        self.keys, self._hovered = keys, -1
        if len(keys) != count:  # to set it lays the whole screen out anew
            self.virtual_size = Size(self.size.width, len(keys) + self.heads)
        self.cursor = max(0, min(cursor, len(keys) - 1))
        self._follow_cursor()
        self.refresh()
        if self.chosen != chosen:
            self.post_message(self.Highlighted(self))

    def forget(self, key: str) -> None:
        """Draw a row anew when it is in sight next."""
        for which in [which for which in self._drawn if which[0] == key]:
            del self._drawn[which]

    # Drawing

    @property
    def chosen(self) -> str | None:
        """Return the key of the row with the cursor; None when there is none."""
        return self.keys[self.cursor] if self.cursor < len(self.keys) else None

    @property
    def in_sight(self) -> range:
        """Return the rows that stand on the terminal."""
        top = self.scroll_offset.y
        return range(top, min(len(self.keys), top + self._rows_high))

    @property
    def room(self) -> int:
        """Return how many cells a row has: `size` has the bar at the right in it."""
        return self.scrollable_content_region.width

    @property
    def _rows_high(self) -> int:
        return max(1, self.size.height - self.heads)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return lines, for which the style is found once: that takes as long as to draw one."""
        self._style = self.rich_style
        if self._drawn_in != self.room:
            self._drawn_in = self.room
            self._drawn.clear()
        try:
            return super().render_lines(crop)
        finally:
            self._style = None

    def render_line(self, y: int) -> Strip:
        """Return a line above the rows, one row, or blank cells below the last."""
        if y < self.heads:
            return self.head_line(y)
        at, width, style = y + self.scroll_offset.y - self.heads, self.size.width, self._style or self.rich_style
        if at >= len(self.keys):
            return Strip.blank(width, style)
        over = Style.null()
        if at in (self.cursor, self._hovered):
            over = self.get_component_rich_style("rows--cursor" if at == self.cursor else "rows--hover")
        which = (self.keys[at], style + over)
        strip = self._drawn.get(which)
        if strip is None or strip.cell_length != width:
            if len(self._drawn) >= MOST_KEPT:
                self._drawn.clear()
            strip = Strip(self.segments(which[0], style, over)).adjust_cell_length(width, which[1])
            self._drawn[which] = strip
        return strip

    def _draw_row(self, row: int) -> None:
        self.refresh_line(row + self.heads)

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._follow_cursor()

    # The cursor

    def move_to(self, row: int) -> None:
        """Put the cursor on a row, or on the last that there is."""
        row = max(0, min(row, len(self.keys) - 1))
        if row == self.cursor or not self.keys:
            return
        before, self.cursor = self.cursor, row
        self._draw_row(before)
        self._draw_row(row)
        self._follow_cursor()
        self.post_message(self.Highlighted(self))

    def _follow_cursor(self) -> None:
        if not self.size.height:  # it is not laid out yet
            return
        top, height = self.scroll_offset.y, self._rows_high
        if not top <= self.cursor < top + height:
            to = self.cursor if self.cursor < top else self.cursor - height + 1
            self.scroll_to(y=to, animate=False, immediate=True)

    def action_cursor_down(self) -> None:
        """Move to the next row."""
        self.move_to(self.cursor + 1)

    def action_cursor_up(self) -> None:
        """Move to the row before."""
        self.move_to(self.cursor - 1)

    def action_page_down(self) -> None:
        """Move a page on."""
        self.move_to(self.cursor + self._rows_high)

    def action_page_up(self) -> None:
        """Move a page back."""
        self.move_to(self.cursor - self._rows_high)

    def action_scroll_top(self) -> None:
        """Move to the first row."""
        self.move_to(0)

    def action_scroll_bottom(self) -> None:
        """Move to the last row."""
        self.move_to(len(self.keys) - 1)

    def action_select(self) -> None:
        """Open the row with the cursor."""
        if self.chosen is not None:
            self.post_message(self.Selected(self))

    # The mouse

    def _row_at(self, event: events.MouseEvent) -> int:
        """The row under the mouse; -1 when there is none."""
        place = event.get_content_offset(self)
        row = -1 if place is None or place.y < self.heads else place.y + self.scroll_offset.y - self.heads
        return row if row < len(self.keys) else -1

    def on_click(self, event: events.Click) -> None:
        """Put the cursor there; where it is already, open the row."""
        row = self._row_at(event)
        if row == self.cursor:
            self.action_select()
        elif row >= 0:
            self.move_to(row)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Highlight the row under the mouse."""
        self._hover(self._row_at(event))

    def on_leave(self) -> None:
        """Highlight none."""
        self._hover(-1)

    def _hover(self, row: int) -> None:
        before, self._hovered = self._hovered, row
        for one in {before, row} - {-1} if before != row else ():
            self._draw_row(one)


class Cell(NamedTuple):
    """A text as wide as its column, and its colour: a style of Rich's, as `bold #e69f00`; the row's when empty."""

    text: str
    style: str = ""


class Rows(RowList):
    """Rows of cells that are given whole, each as wide as it is to be."""

    DEFAULT_CSS = """
    Rows .rows--cursor { color: $foreground; background: $block-cursor-background; }
    Rows .rows--cursor { text-style: $block-cursor-text-style; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: dict[str, tuple[Cell, ...]] = {}

    def show_rows(self, rows: Mapping[str, Sequence[Cell]]) -> None:
        """Show these rows; of those that stay in their place only what reads differently is drawn."""
        keys, chosen = list(rows), self.chosen
        old, self._rows = self._rows, {key: tuple(cells) for key, cells in rows.items()}
        changed = [key for key, cells in self._rows.items() if old.get(key) != cells]
        for key in changed:
            self.forget(key)
        if keys == self.keys:
            for key in changed:
                self._draw_row(keys.index(key))
        else:
            self.lay_out(keys, keys.index(chosen) if chosen in self._rows else self.cursor)

    def segments(self, key: str, style: Style, over: Style) -> Iterable[Segment]:
        """Return a row; its cells keep their colours where the cursor is, but for one that reverses them."""
        for cell in self._rows[key]:
            own = Style.parse(cell.style)
            yield Segment(cell.text, style + (own + over if over.reverse else over + own))
