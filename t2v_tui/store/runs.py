"""A training as one row among others, and how such rows are sorted, filtered and grouped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from t2v_tui.store.state import JobKey


@dataclass(frozen=True)
class RunRow:
    """What is known of a run; None where nothing is.

    data:     its data set, relative to the workspace
    loss:     of its newest step
    held_out: its lowest held-out loss
    score:    the best that one of its checkpoints got, and that score's name; empty without one
    usd:      what its machine cost while it ran; None where nobody is paid, or the price is not known
    seconds:  it has run
    """

    key: JobKey
    state: str = ""
    name: str = ""
    note: str = ""
    preset: str = ""
    data: str = ""
    step: int = 0
    total: int = 0
    loss: float | None = None
    held_out: float | None = None
    score: float | None = None
    score_name: str = ""
    usd: float | None = None
    seconds: float | None = None
    began_t: float = 0.0

    @property
    def title(self) -> str:
        """Return its name, or what its id says of day, hour and kind: `1125-0215 3f2a`."""
        if self.name:
            return self.name
        day, _, tag = self.key.job.partition("-train-")
        return f"{day[4:8]}-{day[9:13]} {tag}" if tag else self.key.job


SORTS: dict[str, tuple[Callable[[RunRow], Any], bool]] = {
    # name of the order → (by what, the largest first)
    "newest": (lambda row: (row.began_t, row.key.job), True),
    "state": (lambda row: row.state, False),
    "name": (lambda row: row.title.lower(), False),
    "preset": (lambda row: row.preset, False),
    "data": (lambda row: row.data, False),
    "held-out": (lambda row: row.held_out, False),
    "loss": (lambda row: row.loss, False),
    "score": (lambda row: row.score, True),
    "cost": (lambda row: row.usd, True),
    "duration": (lambda row: row.seconds, True),
}


def in_order(rows: Sequence[RunRow], sort: str, *, is_reversed: bool = False, by_data: bool = False) -> list[RunRow]:
    """Return the rows sorted; those that lack the figure come last either way.

    sort:    one of SORTS; rows that are equal in it stand with the newest first
    by_data: those of one data set stand together
    """
    value_of, largest_first = SORTS[sort]
    newest_first = sorted(rows, key=lambda row: (row.began_t, row.key.job), reverse=True)
    known = [row for row in newest_first if value_of(row) is not None]
    known.sort(key=value_of, reverse=largest_first != is_reversed)
    ordered = known + [row for row in newest_first if value_of(row) is None]
    return sorted(ordered, key=lambda row: row.data) if by_data else ordered


def fits(row: RunRow, wanted: str) -> bool:
    """Tell whether every word of a filter is in what the row says: `tiny running`, `preset:base -failed`.

    A word behind a colon is looked for in that column alone; one behind a minus must not be there.
    """
    return all(_has(row, word.removeprefix("-")) is not word.startswith("-") for word in wanted.lower().split() if word)


def _has(row: RunRow, word: str) -> bool:
    columns = {
        "state": row.state, "name": f"{row.title} {row.key.job}", "preset": row.preset, "data": row.data,
        "host": row.key.host, "note": row.note,
    }  # fmt: skip
    column, colon, text = word.partition(":")
    if colon and column in columns:
        return text in columns[column].lower()
    return any(word in value.lower() for value in columns.values())
