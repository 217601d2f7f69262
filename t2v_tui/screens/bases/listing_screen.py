"""What screens with a list share: the words that its rows must have, their order, and which of them are marked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from textual import on
from textual.binding import BindingType

from t2v_tui.keys import bindings_for
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.order import Order, has_words, put_in_order
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.lists import ListTable

Item = TypeVar("Item")
FILTER = "filter"
MARK = "✓ "


class ListingScreen(Cockpit):
    """A screen whose list can be narrowed, sorted and marked; it yields an EntryLine below that list.

    ORDERS: name → by what; the first one holds until another is chosen
    ITEMS:  what its rows are, in the plural
    """

    GROUPS: ClassVar[tuple[str, ...]] = ("lists",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("lists")]
    ORDERS: ClassVar[Mapping[str, Order[Any]]]
    ITEMS: ClassVar[str] = "rows"

    def __init__(self) -> None:
        super().__init__()
        self.wanted, self.order, self.is_reversed = "", next(iter(self.ORDERS)), False
        self.marked: dict[str, None] = {}  # of a MarkingScreen
        self.listing_changes = 0  # what a list was made of last is told by it

    @property
    def table(self) -> ListTable:
        """Return the list."""
        raise NotImplementedError

    @property
    def is_rearranged(self) -> bool:
        """Tell whether the list is narrowed, or in another order than at first."""
        return bool(self.wanted) or self.is_reversed or self.order != next(iter(self.ORDERS))

    # What is listed

    def listed(self, items: Iterable[Item], says: Callable[[Item], Mapping[str, str]]) -> list[Item]:
        """Return those that have the words of the filter, in the chosen order. says: column → what a row says there"""
        wanted = self.wanted.strip()
        kept = [item for item in items if has_words(says(item), wanted)] if wanted else list(items)
        return put_in_order(kept, self.ORDERS[self.order], is_reversed=self.is_reversed)

    def in_words(self, name: str, shown: int, count: int) -> str:
        """Return the list's title: `videos · 3 of 40 · by prompt · 2 marked · with “dog”`."""
        is_usual = self.order == next(iter(self.ORDERS)) and not self.is_reversed
        order = "" if is_usual else f"by {self.order}{', reversed' if self.is_reversed else ''}"
        parts = [
            name, f"{shown} of {count}" if self.wanted else f"{count}", order,
            f"{len(self.marked)} marked" if self.marked else "", f"with “{self.wanted}”" if self.wanted else "",
        ]  # fmt: skip
        return " · ".join(filter(None, parts))

    def none_fits(self, count: int) -> str:
        """Return what stands there when the filter leaves nothing of so many; empty without a filter."""
        return f"None of {count} {self.ITEMS} has “{self.wanted}”.\n\nesc   shows all again" if self.wanted else ""

    # Keys

    @property
    def entry(self) -> EntryLine:
        """Return the line that asks for a filter."""
        return self.query_one(EntryLine)

    def _changed(self) -> None:
        self.listing_changes += 1
        keeps_first, self.table.keeps_first = self.table.keeps_first, False  # whoever turns the order keeps his row
        self.redraw()
        self.table.keeps_first = keeps_first

    def to_list(self) -> None:
        """Put the focus on the list."""
        self.table.focus()

    def action_filter(self) -> None:
        """Ask for the words that rows must have."""
        self.entry.ask(FILTER, self.wanted)

    @on(EntryLine.Typed)
    def _filter_as_typed(self, event: EntryLine.Typed) -> None:
        if event.what == FILTER and self.wanted != event.text:
            self.wanted = event.text
            self._changed()

    @on(EntryLine.Entered)
    def _filter_entered(self, event: EntryLine.Entered) -> None:
        if event.what == FILTER:
            self.to_list()

    def action_turn_sort(self) -> None:
        """Sort by the next column."""
        names = list(self.ORDERS)
        self.order, self.is_reversed = names[(names.index(self.order) + 1) % len(names)], False
        self._changed()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.is_reversed = not self.is_reversed
        self._changed()

    def action_leave(self) -> None:
        """Leave the entry, then what is being started, the filter, the marks; then go up."""
        if self.entry.asks_for:
            self._stop_asking()
        elif self.maximized is not None or self.cockpit.launches.in_sight is not None:
            self.call_later(self.app.run_action, "back")
        elif self.wanted or self.marked:
            if self.wanted:
                self.wanted = ""
            else:
                self.marked.clear()
            self._changed()
        else:
            self.call_later(self.app.run_action, "back")

    def _stop_asking(self) -> None:
        is_filter = self.entry.asks_for == FILTER
        self.entry.close()
        self.to_list()
        if is_filter and self.wanted:
            self.wanted = ""
            self._changed()


class MarkingScreen(ListingScreen):
    """One whose rows can be marked, for what is done with several at once."""

    GROUPS: ClassVar[tuple[str, ...]] = ("lists", "marks")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("marks")]

    def keep_marks(self, keys: Iterable[str]) -> None:
        """Drop the marks of what is no longer there."""
        there = set(keys)
        self.marked = {key: None for key in self.marked if key in there}

    def marked_or(self, chosen: str | None) -> list[str]:
        """Return the keys that an action is about: of the marked rows, else of the one with the cursor."""
        return list(self.marked) or ([chosen] if chosen is not None else [])

    def step_on(self) -> None:
        """Move the cursor to the next row."""
        self.table.action_cursor_down()

    def action_mark(self) -> None:
        """Mark the row with the cursor, or take its mark away, and go to the next."""
        key = self.table.chosen
        if key is None:
            self.notify("there is nothing to mark", timeout=3)
            return
        if key in self.marked:
            del self.marked[key]
        else:
            self.marked[key] = None
        self._changed()
        self.step_on()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.marked.clear()
        self._changed()


def some(names: Sequence[str], what: str) -> str:
    """Return the one name, or `3 videos`."""
    return names[0] if len(names) == 1 else f"{len(names)} {what}"
