"""A training as one row among others, and how such rows are sorted, filtered and grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from t2v_tui.store.order import Order, has_words, put_in_order
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


SORTS: dict[str, Order[RunRow]] = {
    "newest": Order(lambda row: (row.began_t, row.key.job), largest_first=True),
    "state": Order(lambda row: row.state),
    "name": Order(lambda row: row.title.lower()),
    "preset": Order(lambda row: row.preset),
    "data": Order(lambda row: row.data),
    "held-out": Order(lambda row: row.held_out),
    "loss": Order(lambda row: row.loss),
    "score": Order(lambda row: row.score, largest_first=True),
    "cost": Order(lambda row: row.usd, largest_first=True),
    "duration": Order(lambda row: row.seconds, largest_first=True),
}


def in_order(rows: Sequence[RunRow], sort: str, *, is_reversed: bool = False, by_data: bool = False) -> list[RunRow]:
    """Return the rows sorted; those that lack the figure come last either way.

    sort:    one of SORTS; rows that are equal in it stand with the newest first
    by_data: those of one data set stand together
    """
    ordered = put_in_order(put_in_order(rows, SORTS["newest"]), SORTS[sort], is_reversed=is_reversed)
    return sorted(ordered, key=lambda row: row.data) if by_data else ordered


def fits(row: RunRow, wanted: str) -> bool:
    """Tell whether a run has the words of a filter, as `has_words` takes them."""
    columns = {
        "state": row.state, "name": f"{row.title} {row.key.job}", "preset": row.preset, "data": row.data,
        "host": row.key.host, "note": row.note,
    }  # fmt: skip
    return has_words(columns, wanted)
