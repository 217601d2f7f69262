"""Rows to choose from, of which only those that changed are drawn again: a DataTable draws all for one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from t2v_tui.widgets.lists import VI_KEYS


class Cell(NamedTuple):
    """A text as wide as its column, and its colour: a style of Rich's, as `bold #e69f00`; the row's when empty."""

    text: str
    style: str = ""


class Rows(ScrollView, can_focus=True):
    """Rows by key; the cursor stays on its row when their order changes."""

    PANE = "list"
    BINDINGS: ClassVar[list[BindingType]] = [
        *VI_KEYS,
        Binding("down", "cursor_down", "down", show=False),
        Binding("up", "cursor_up", "up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("home", "scroll_top", "first", show=False),
        Binding("end", "scroll_bottom", "last", show=False),
        Binding("enter", "select", "open", show=False),
    ]
    DEFAULT_CSS = """
    Rows { height: 1fr; }
    Rows .rows--cursor { color: $foreground; background: $accent 25%; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--cursor"}

    class Highlighted(Message):
        """The cursor stands on another row."""

    class Selected(Message):
        """The row with the cursor is to be opened."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.keys: list[str] = []
        self.cursor = 0
        self._rows: dict[str, tuple[Cell, ...]] = {}
        self._drawn: dict[tuple[str, bool], Strip] = {}

    @property
    def chosen(self) -> str | None:
        """Return the key of the row with the cursor; None when there is none."""
        return self.keys[self.cursor] if self.cursor < len(self.keys) else None

    def show_rows(self, rows: Mapping[str, Sequence[Cell]]) -> None:
        """Show these rows; of those that stay in their place only what reads differently is drawn."""
        chosen, keys = self.chosen, list(rows)
        old, self._rows = self._rows, {key: tuple(cells) for key, cells in rows.items()}
        changed = [key for key, cells in self._rows.items() if old.get(key) != cells]
        for key in changed:
            self._forget(key)
        if keys == self.keys:
            for key in changed:
                self.refresh_line(keys.index(key))
            return
        self.keys = keys
        self._drawn = {which: strip for which, strip in self._drawn.items() if which[0] in self._rows}
        self.virtual_size = Size(self.size.width, len(keys))
        self.cursor = keys.index(chosen) if chosen in self._rows else max(0, min(self.cursor, len(keys) - 1))
        self._follow_cursor()
        self.refresh()
        if self.chosen != chosen:
            self.post_message(self.Highlighted())

    def notify_style_update(self) -> None:
        """Drop what was drawn in the old colours."""
        super().notify_style_update()
        self._drawn.clear()

    def render_line(self, y: int) -> Strip:
        """Return one row, or blank cells below the last."""
        at, width, style = y + self.scroll_offset.y, self.size.width, self.rich_style
        if at >= len(self.keys):
            return Strip.blank(width, style)
        which = (self.keys[at], at == self.cursor)
        strip = self._drawn.get(which)
        if strip is None or strip.cell_length != width:
            if which[1]:
                style = self.get_component_rich_style("rows--cursor")
            segments = [Segment(cell.text, style + Style.parse(cell.style)) for cell in self._rows[which[0]]]
            strip = self._drawn[which] = Strip(segments).adjust_cell_length(width, style)
        return strip

    def _forget(self, key: str) -> None:
        for is_cursor in (True, False):
            self._drawn.pop((key, is_cursor), None)

    def move_to(self, row: int) -> None:
        """Put the cursor on a row, or on the last that there is."""
        row = max(0, min(row, len(self.keys) - 1))
        if row == self.cursor or not self.keys:
            return
        before, self.cursor = self.cursor, row
        self.refresh_line(before)
        self.refresh_line(row)
        self._follow_cursor()
        self.post_message(self.Highlighted())

    def _follow_cursor(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
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
        self.move_to(self.cursor + self.size.height)

    def action_page_up(self) -> None:
        """Move a page back."""
        self.move_to(self.cursor - self.size.height)

    def action_scroll_top(self) -> None:
        """Move to the first row."""
        self.move_to(0)

    def action_scroll_bottom(self) -> None:
        """Move to the last row."""
        self.move_to(len(self.keys) - 1)

    def action_select(self) -> None:
        """Open the row with the cursor."""
        if self.chosen is not None:
            self.post_message(self.Selected())

    def on_click(self, event: Click) -> None:
        """Put the cursor there; where it is already, open the row."""
        row = event.y + self.scroll_offset.y
        if row == self.cursor:
            self.action_select()
        elif row < len(self.keys):
            self.move_to(row)
