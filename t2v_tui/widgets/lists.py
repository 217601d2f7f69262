"""A table to choose from: its columns have titles, and its rows change in place, so nothing jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import ClassVar, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget

from t2v_tui.widgets.rows import RowList

# What was long ago is told in minutes and hours: rows that say so are made anew this often.
AGES_EVERY_S = 10.0

# Plain names of colours are the theme's of that meaning: a terminal's own yellow cannot be read on a light ground.
TONES = {"green": "success", "yellow": "warning", "red": "error", "dim": "text-muted"}

Item = TypeVar("Item")


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


class ListTable(RowList):
    """Rows of texts below the titles of their columns; a row is made when it comes into sight.

    keeps_first: on the first row the cursor stays on the first, whatever comes to stand there
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--heads"}
    DEFAULT_CSS = """
    ListTable { height: auto; max-height: 100%; }
    ListTable .rows--heads { color: $text-muted; }
    ListTable .rows--cursor {
        background: $block-cursor-blurred-background; color: $block-cursor-blurred-foreground;
        text-style: $block-cursor-blurred-text-style;
    }
    ListTable:focus .rows--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground; text-style: $block-cursor-text-style;
    }
    """

    def __init__(
        self,
        columns: Sequence[tuple[str, int | None]],
        *,
        id: str | None = None,
        keeps_first: bool = False,
        has_heads: bool = True,
    ) -> None:
        """columns: (title, width in cells; None: as wide as its widest cell, and of the last column the rest)"""
        super().__init__(id=id, heads=int(has_heads))
        self.keeps_first = keeps_first
        self._columns = columns
        self._makers: dict[str, Callable[[], tuple[Text, ...]]] = {}
        self._made: dict[str, tuple[Text, ...]] = {}
        self._widest: tuple[int, ...] = ()

    def stand_back(self, is_hidden: bool) -> None:
        """Make room while it is empty, as `stand_back` of this module says."""
        stand_back(self, is_hidden=is_hidden)

    def show_rows(self, rows: Sequence[tuple[str, tuple[Text, ...]]]) -> None:
        """Show rows of (key, cells)."""
        self.show_items(dict(rows), lambda cells: cells)

    def show_items(self, items: Mapping[str, Item], cells_of: Callable[[Item], tuple[Text, ...]]) -> None:
        """Show a row for each; of those that stay in their place only what reads differently is drawn.

        Rows out of sight are made when they come into it, by the last `cells_of`.
        """
        keys, before, chosen = list(items), self._made, self.chosen
        self._makers = {key: partial(cells_of, item) for key, item in items.items()}
        self._made = {}
        is_wider = self._measure()
        if keys == self.keys and not is_wider:
            in_sight = {self.keys[row]: row for row in self.in_sight}
            for key in before.keys() - in_sight.keys():
                self.forget(key)
            for key, row in in_sight.items():
                if self.cells(key) != before.get(key):
                    self.forget(key)
                    self._draw_row(row)
            return
        self._drawn.clear()
        is_first = self.keeps_first and self.cursor == 0
        self.lay_out(keys, keys.index(chosen) if chosen in self._makers and not is_first else 0)

    def cells(self, key: str) -> tuple[Text, ...]:
        """Return the cells of a row, which are made when they are asked for."""
        if key not in self._made:
            self._made[key] = self._makers[key]()
        return self._made[key]

    def cells_at(self, row: int) -> tuple[Text, ...]:
        """Return the cells of a row by its number."""
        return self.cells(self.keys[row])

    def _measure(self) -> bool:
        """Find how wide columns without a width are, which takes all rows; True when one is wider than before."""
        if all(width is not None for _, width in self._columns[:-1]):
            return False
        before = self._widest
        rows = [self.cells(key) for key in self._makers]
        self._widest = tuple(
            max(cell_len(text) for text in (title, *(row[at].plain for row in rows)))
            for at, (title, _) in enumerate(self._columns)
        )
        return before != self._widest

    def _widths(self) -> Iterator[int]:
        left = self.room
        for at, (_, width) in enumerate(self._columns):
            is_last = at == len(self._columns) - 1
            cells = width if width is not None else max(0, left - 1) if is_last else self._widest[at]
            left -= cells + 2
            yield cells

    def head_line(self, y: int) -> Strip:
        """Return the titles."""
        style = self.get_component_rich_style("rows--heads")
        titles = (_fitted(title, width) for (title, _), width in zip(self._columns, self._widths(), strict=True))
        return Strip([Segment("".join(titles), style)]).adjust_cell_length(self.size.width, style)

    def segments(self, key: str, style: Style, over: Style) -> Iterable[Segment]:
        """Return a row; where the cursor is, its colour holds for all of it."""
        parts = zip(self.cells(key), self._widths(), strict=True)
        return chain.from_iterable(self._cell(text, width, style, over) for text, width in parts)

    def _cell(self, text: Text, width: int, style: Style, over: Style) -> Iterable[Segment]:
        """A text in its column, with a blank cell on either side."""
        console = self.app.console
        if not text.spans:
            tone = self.app.theme_variables.get(TONES.get(str(text.style), ""))
            own = console.get_style(tone or text.style, default=Style.null())
            return (Segment(_fitted(text.plain, width), style + own + over),)
        text = text.copy()
        text.truncate(width, overflow="ellipsis", pad=True)
        text.pad(1)
        text.end = ""
        return Segment.apply_style(text.render(console), style, over)


def _fitted(text: str, width: int) -> str:
    """The first line of a text with a blank cell on either side; cut with an ellipsis where it is too long."""
    line = text.partition("\n")[0]
    return f" {set_cell_size(line, width) if cell_len(line) <= width else _cut(line, width)} "


def _cut(line: str, width: int) -> str:
    return f"{set_cell_size(line, width - 1)}…" if width > 0 else ""
