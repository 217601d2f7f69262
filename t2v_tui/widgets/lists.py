"""A table to choose from, with the keys of vi beside the arrows; its rows change in place, so nothing jumps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable


class ListTable(DataTable[Text]):
    """A DataTable whose rows are given whole, each with a key; the cursor stays on its row."""

    PANE = "list"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "down", show=False, id="list.down"),
        Binding("k", "cursor_up", "up", show=False, id="list.up"),
        Binding("g", "scroll_top", "first", show=False, id="list.first"),
        Binding("G", "scroll_bottom", "last", show=False, id="list.last"),
        Binding("ctrl+d", "page_down", "page down", show=False, id="list.page-down"),
        Binding("ctrl+u", "page_up", "page up", show=False, id="list.page-up"),
    ]

    def __init__(self, columns: Sequence[tuple[str, int | None]], *, id: str | None = None) -> None:  # noqa: A002
        """columns: (title, width in cells; None: as wide as its widest cell)"""
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=1)
        self._columns = columns
        self._keys: list[str] = []
        self._cells: dict[str, tuple[Text, ...]] = {}

    def on_mount(self) -> None:
        for title, width in self._columns:
            self.add_column(title, width=width, key=title)

    @property
    def chosen(self) -> str | None:
        """The key of the row with the cursor."""
        return self._keys[self.cursor_row] if self._keys and 0 <= self.cursor_row < len(self._keys) else None

    def stand_back(self, is_hidden: bool) -> None:
        """Make room for what stands there instead of an empty list. The focus waits for it: no other pane takes it."""
        if is_hidden != self.display:
            return
        if is_hidden and self.has_focus:
            self.screen.set_focus(None)
        self.display = not is_hidden
        if not is_hidden and self.screen.focused is None:
            self.focus()

    def show_rows(self, rows: Sequence[tuple[str, tuple[Text, ...]]]) -> None:
        """Cells that read the same are left alone; other rows than before are laid out anew."""
        keys = [key for key, _ in rows]
        if keys != self._keys:
            chosen = self.chosen
            self.clear()
            for key, cells in rows:
                self.add_row(*cells, key=key)
            self._keys, self._cells = keys, dict(rows)
            if chosen in keys:
                self.move_cursor(row=keys.index(chosen), animate=False)
            return
        for key, cells in rows:
            before = self._cells[key]
            for (title, width), old, new in zip(self._columns, before, cells, strict=True):
                if old != new:
                    self.update_cell(key, title, new, update_width=width is None)
        self._cells = dict(rows)
