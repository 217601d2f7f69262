"""Runs beside each other: how they ended, and only those settings that are not the same in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from t2v_tui.store.runs import RunRow
from t2v_tui.text.runs.run_table import UNKNOWN, cell, figure, setting

FINALS = ("state", "steps", "held-out", "loss", "score", "cost", "duration")
NAME_CELLS, LEAST_CELLS, MOST_CELLS = 18, 11, 18
BORDER_CELLS = 4


@dataclass(frozen=True)
class Row:
    """One line. name: what is compared; cells: of each run that is in sight; is_head: separates what follows"""

    name: str
    cells: tuple[str, ...] = ()
    is_head: bool = False


def comparison(
    runs: Sequence[RunRow],
    differing: Sequence[tuple[str, Sequence[Any]]],
    at_cursor: tuple[str, Sequence[float | None]] | None = None,
    *,
    unknown: int = 0,
) -> list[Row]:
    """Return the lines of a comparison.

    differing: (setting, its value in each run); of one run those that are not the usual ones
    at_cursor: where the cursor of the chart stands, in words, and each run's value there
    unknown:   of how many of the runs no settings are known
    """
    rows = [Row("run", tuple(run.title for run in runs))]
    if at_cursor is not None:
        rows.append(Row(at_cursor[0], tuple(figure(value) for value in at_cursor[1])))
    rows += [Row(name, tuple(cell(run, name).replace(" running ", " ") for run in runs)) for name in FINALS]
    rows = [row for row in rows if row.name == "run" or any(one != UNKNOWN for one in row.cells)]
    if len(runs) > 1 or differing:
        rows.append(Row(_title_of(len(runs), unknown, is_any=bool(differing)), is_head=True))
        rows += [
            Row(name.replace("_", " "), tuple(setting(one).removeprefix("data/") for one in values))
            for name, values in differing
        ]
    if any(run.note for run in runs):
        rows.append(Row("note", tuple(run.note or UNKNOWN for run in runs)))
    return rows


def _title_of(runs: int, unknown: int, *, is_any: bool) -> str:
    if runs == 1:
        return "settings other than usual"
    if unknown >= runs - 1:
        return "their settings are not known"
    title = "settings that differ" if is_any else "no setting differs"
    return f"{title} · those of {unknown} are not known" if unknown else title


def columns_in(cells: int, runs: int) -> tuple[int, int]:
    """Return how many runs stand beside each other in so many cells, and how wide each is."""
    room = cells - NAME_CELLS
    fit = max(1, min(runs, room // (LEAST_CELLS + 1)))
    return fit, max(LEAST_CELLS, min(MOST_CELLS, room // fit - 1))


def comparison_width(runs: int, most: int) -> int:
    """Return how many cells a pane of so many runs needs, with its border; the charts have what it leaves."""
    return min(most, NAME_CELLS + max(1, runs) * (MOST_CELLS + 1) + BORDER_CELLS)


def clipped(text: str, cells: int) -> str:
    """Return a text of at most so many characters, the middle left out: paths differ at their ends."""
    if len(text) <= cells:
        return text
    head = (cells - 1) // 2
    return f"{text[:head]}…{text[len(text) - (cells - 1 - head) :]}"


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Return the comparison as lines of text, each column as wide as it has to be."""
    count = max(len(row.cells) for row in rows)
    widths = [max(len(row.cells[at]) for row in rows if row.cells) for at in range(count)]
    name = max(len(row.name) for row in rows if row.cells)
    return [
        f"\n{row.name}:" if row.is_head else "  ".join(
            [f"{row.name:<{name}}", *(f"{one:<{width}}" for one, width in zip(row.cells, widths, strict=True))]
        ).rstrip()
        for row in rows
    ]  # fmt: skip
