"""A table to choose from, with the keys of vi beside the arrows; its rows change in place, so nothing jumps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import DataTable

# What was long ago is told in minutes and hours: rows that say so are made anew this often.
AGES_EVERY_S = 10.0

Item = TypeVar("Item")
VI_KEYS = (
    Binding("j", "cursor_down", "down", show=False, id="list.down"),
    Binding("k", "cursor_up", "up", show=False, id="list.up"),
    Binding("g", "scroll_top", "first", show=False, id="list.first"),
    Binding("G", "scroll_bottom", "last", show=False, id="list.last"),
    Binding("ctrl+d", "page_down", "page down", show=False, id="list.page-down"),
    Binding("ctrl+u", "page_up", "page up", show=False, id="list.page-up"),
)


class MadeOf:
    """What a list was made of last: 2,000 rows take 50 ms, which no screen has each second."""

    def __init__(self) -> None:
        self._parts: tuple[object, ...] = ()
        self._age = 0

    def is_new(self, *parts: object) -> bool:
        """Tell whether something is another object than the last time."""
        is_same = len(parts) == len(self._parts) and all(
            one is other or (isinstance(one, int | str) and one == other)
            for one, other in zip(parts, self._parts, strict=True)
        )
        self._parts = parts
        return not is_same

    def is_older(self, now_t: float) -> bool:
        """Tell whether ages may read differently than the last time."""
        before, self._age = self._age, int(now_t // AGES_EVERY_S)
        return before != self._age


def stand_back(widget: Widget, *, is_hidden: bool) -> None:
    """Make room for what stands there instead of an empty list. The focus waits for it: no other pane takes it."""
    if is_hidden != widget.display:
        return
    if is_hidden and widget.has_focus:
        widget.screen.set_focus(None)
    widget.display = not is_hidden
    if not is_hidden and widget.screen.focused is None:
        widget.focus()


class ListTable(DataTable[Text]):
    """A DataTable whose rows are given whole, each with a key; the cursor stays on its row.

    keeps_first: on the first row it stays on the first, whatever comes to stand there
    """

    PANE = "list"
    BINDINGS: ClassVar[list[BindingType]] = [*VI_KEYS]

    def __init__(
        self,
        columns: Sequence[tuple[str, int | None]],
        *,
        id: str | None = None,
        keeps_first: bool = False,
    ) -> None:
        """columns: (title, width in cells; None: as wide as its widest cell)"""
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=1)
        self.keeps_first = keeps_first
        self._columns = columns
        self._keys: list[str] = []
        self._cells: dict[str, tuple[Text, ...]] = {}
        self._stale: dict[str, Callable[[], tuple[Text, ...]]] = {}

    def on_mount(self) -> None:
        """Add the columns."""
        for title, width in self._columns:
            self.add_column(title, width=width, key=title)

    @property
    def chosen(self) -> str | None:
        """Return the key of the row with the cursor; None when there is none."""
        return self._keys[self.cursor_row] if self._keys and 0 <= self.cursor_row < len(self._keys) else None

    def stand_back(self, is_hidden: bool) -> None:
        """Make room while it is empty, as `stand_back` of this module says."""
        stand_back(self, is_hidden=is_hidden)

    def show_rows(self, rows: Sequence[tuple[str, tuple[Text, ...]]]) -> None:
        """Show rows of (key, cells)."""
        self.show_items(dict(rows), lambda cells: cells)

    def show_items(self, items: Mapping[str, Item], cells_of: Callable[[Item], tuple[Text, ...]]) -> None:
        """Show a row for each: other keys than before are laid out anew, else cells change where they read differently.

        Rows out of sight are made when they come into it, by the last `cells_of`.
        """
        self._stale = {key: partial(cells_of, item) for key, item in items.items()}
        if (keys := list(items)) != self._keys:
            self._lay_out(keys)
        else:
            self._freshen()

    def _lay_out(self, keys: list[str]) -> None:
        chosen = None if self.keeps_first and self.cursor_row == 0 else self.chosen
        self._keys = []  # to clear scrolls to the top, where rows would be made that are gone by then
        self.clear()
        self._cells = {key: self._stale.pop(key)() for key in keys}
        for key, cells in self._cells.items():
            self.add_row(*cells, key=key)
        self._keys = keys
        if chosen in self._cells:
            self.move_cursor(row=keys.index(chosen), animate=False)

    def _freshen(self) -> None:
        """Bring the rows in sight up to date."""
        top = round(self.scroll_y)
        for key in self._keys[top : top + self.size.height]:
            if make := self._stale.pop(key, None):
                self._update(key, make())

    def _update(self, key: str, cells: tuple[Text, ...]) -> None:
        for (title, width), old, new in zip(self._columns, self._cells[key], cells, strict=True):
            if old != new:
                self.update_cell(key, title, new, update_width=width is None)
        self._cells[key] = cells

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Bring the rows that come into sight up to date."""
        super().watch_scroll_y(old_value, new_value)
        self._freshen()

    def on_resize(self) -> None:
        """Bring the rows that come into sight up to date."""
        self._freshen()
