"""What differs between runs, and their finals, side by side: as many as there is room for, the others by a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from t2v_tui.library.runs.settings import differing, with_defaults
from t2v_tui.store.runs import RunRow
from t2v_tui.text.runs.run_comparison import NAME_CELLS, Row, clipped, columns_in, comparison
from t2v_tui.widgets.chrome import Block


def _shown(settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The settings that are not the same in all runs whose settings are known; of one run the unusual ones."""
    known = [one for one in settings if one]
    if len(settings) == 1:
        return [(name, values[:1]) for name, values in differing([*known, with_defaults({})])] if known else []
    return [(name, [one.get(name) for one in settings]) for name, _ in differing(known)]


class Comparison(Block):
    """first: the first run in sight"""

    def __init__(self, *, id: str, classes: str = "pane") -> None:
        super().__init__(id=id, classes=classes)
        self.first = 0
        self._titles: tuple[str, str] = ("", "")
        self._settings: Sequence[Mapping[str, Any]] = ()
        self._differing: list[tuple[str, list[Any]]] = []

    def show_runs(
        self,
        runs: Sequence[RunRow],
        settings: Sequence[Mapping[str, Any]],
        at_cursor: tuple[str, list[float | None]] | None,
        marks: Sequence[tuple[str, str]],
    ) -> None:
        """Draw these runs.

        settings:  of each, empty while they are not known
        at_cursor: what is read there, and each run's value
        marks:     (letter, colour) of each; none for the only run
        """
        if not runs:
            self.show(Content(""))
            return
        fit, width = columns_in(self.size.width or 48, len(runs))
        hidden = len(runs) - fit
        self.first = max(0, min(self.first, hidden))
        sight = slice(self.first, self.first + fit)
        said = f"{self.first + 1}–{self.first + fit} of {len(runs)}: [ and ] show the others" if hidden else ""
        self._entitle(f"{len(runs)} runs" if len(runs) > 1 else "this run", said)
        unknown = sum(not one for one in settings)
        rows = comparison(runs, self._differing_in(settings), at_cursor, unknown=unknown)
        self.show(_content(rows, sight, width, marks))

    def _differing_in(self, settings: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
        """To find it takes 2 ms for twenty runs, which a cursor that moves has no need of."""
        is_same = len(settings) == len(self._settings) and all(map(_is, settings, self._settings))
        if not is_same:
            self._settings = tuple(settings)
            self._differing = _shown(settings)
        return self._differing

    def _entitle(self, title: str, subtitle: str) -> None:
        if (title, subtitle) != self._titles:
            self._titles = (title, subtitle)
            self.border_title, self.border_subtitle = Content(title), Content(subtitle)


def _is(one: object, other: object) -> bool:
    return one is other


def _content(rows: Sequence[Row], sight: slice, width: int, marks: Sequence[tuple[str, str]]) -> Content:
    """The lines as they are drawn: names muted, each run's column below its letter."""
    lines: list[Content] = []
    if marks:
        heads = [(f" {letter:<{width}}", f"bold {colour}") for letter, colour in marks[sight]]
        lines.append(Content.assemble(" " * NAME_CELLS, *heads))
    for row in rows:
        if row.is_head:
            lines.append(Content.assemble((f"{row.name}", "$text-muted")))
            continue
        cells = [f" {clipped(one, width):<{width}}" for one in row.cells[sight]]
        lines.append(Content.assemble((f"{clipped(row.name, NAME_CELLS):<{NAME_CELLS}}", "$text-muted"), *cells))
    return Content("\n").join(lines)
