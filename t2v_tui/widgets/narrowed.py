"""A list with a line below it that asks for the words its rows must have: `/` in panels and in the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message

from t2v_tui.store.order import has_words
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.lists import ListTable

FILTER = "filter"


class Narrowed(Vertical):
    """table: of all rows, or of those that have the words

    columns: names by which a filter may ask for a word of one column: `kind:video`
    wanted:  the words
    """

    DEFAULT_CSS = "Narrowed { height: 1fr; }"

    class Changed(Message):
        """Other words are asked for."""

    def __init__(self, table: ListTable, columns: Sequence[str]) -> None:
        super().__init__()
        self.table, self.columns, self.wanted = table, columns, ""
        self._items: Mapping[str, Any] = {}
        self._cells_of: Callable[[Any], tuple[Text, ...]] = tuple

    def compose(self) -> ComposeResult:
        """Lay out the list over what asks for a filter."""
        yield self.table
        yield EntryLine(id="entry-line")

    @property
    def in_words(self) -> str:
        """Return `3 of 40 with “dog”`; nothing without a filter."""
        return f"{len(self.table.keys)} of {len(self._items)} with “{self.wanted}”" if self.wanted else ""

    @property
    def holds_focus(self) -> bool:
        """Tell whether the list or its line has the focus."""
        return self.screen.focused is not None and self in self.screen.focused.ancestors

    def show_items(self, items: Mapping[str, Any], cells_of: Callable[[Any], tuple[Text, ...]]) -> None:
        """Show a row for each that has the words, as `ListTable.show_items` does."""
        self._items, self._cells_of = items, cells_of
        wanted = self.wanted.strip()
        self.table.show_items(
            {key: item for key, item in items.items() if has_words(self._said(item), wanted)} if wanted else items,
            cells_of,
        )

    def _said(self, item: Any) -> dict[str, str]:
        return {name: cell.plain for name, cell in zip(self.columns, self._cells_of(item), strict=True)}

    def action_filter(self) -> None:
        """Ask for the words that rows must have."""
        self.query_one(EntryLine).ask(FILTER, self.wanted)

    def leave(self) -> bool:
        """Ask for no more words and show all rows; False when that was so already."""
        entry = self.query_one(EntryLine)
        if not entry.asks_for and not self.wanted:
            return False
        entry.close()
        self.table.focus()
        self._want("")
        return True

    def _want(self, words: str) -> None:
        if words != self.wanted:
            self.wanted = words
            self.show_items(self._items, self._cells_of)
            self.post_message(self.Changed())

    @on(EntryLine.Typed)
    def _narrow(self, event: EntryLine.Typed) -> None:
        event.stop()
        self._want(event.text)

    @on(EntryLine.Entered)
    def _to_list(self, event: EntryLine.Entered) -> None:
        event.stop()
        self._want(event.text)
        self.table.focus()
