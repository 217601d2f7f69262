"""A run's row in words, for the screen and the command line alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size

from t2v_core.format import duration, grouped, usd
from t2v_tui.store.runs import RunRow
from t2v_tui.store.state import LOCAL
from t2v_tui.text.job_words import JOB_GLYPHS

UNKNOWN = "–"
# Width in cells, and whether it is set to the right; a note has what is left.
COLUMNS: dict[str, tuple[int, bool]] = {
    "state": (14, False), "name": (16, False), "preset": (11, False), "data": (12, False), "held-out": (8, True),
    "loss": (8, True), "score": (6, True), "cost": (8, True), "duration": (9, True), "note": (40, False),
}  # fmt: skip
NARROW = ("state", "name", "preset", "held-out", "loss")
LEAST_NOTE = 12


def columns_for(cells: int, sort: str) -> list[tuple[str, int]]:
    """Return (column, its width) of those that so many cells have room for; that of the order is always among them."""
    every = [name for name in COLUMNS if name != "note"]
    if cells < _needed(every):
        every = list(NARROW)
        if sort in COLUMNS and sort not in every:
            every[every.index("preset")] = sort
    room = cells - _needed(every) - 2
    columns = [(name, COLUMNS[name][0]) for name in every]
    return [*columns, ("note", room)] if room >= LEAST_NOTE else columns


def _needed(names: Sequence[str]) -> int:
    return sum(COLUMNS[name][0] + 2 for name in names)


def cell(row: RunRow, column: str) -> str:
    """Return what stands in a column of a run."""
    return CELLS[column](row)


def state(row: RunRow) -> str:
    """Return its state, with how far it is while it runs: `running 24%`."""
    return f"running {min(1.0, row.step / row.total):.0%}" if row.total and row.state == "running" else row.state


def clipped_end(text: str, cells: int) -> str:
    """Return a text of at most so many cells, its end left out."""
    if cell_len(text) <= cells:
        return text + " " * (cells - cell_len(text)) if cell_len(text) != len(text) else text
    return set_cell_size(text, cells - 1) + "…"


def figure(value: float | None) -> str:
    """Return a loss or another figure in at most eight columns: `0.0831`, `12.4`, `1.0e-05`."""
    if value is None:
        return UNKNOWN
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.1e}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.5g}"


def score(row: RunRow) -> str:
    """Return `93%` of prompts obeyed, or the CLIP score."""
    if row.score is None:
        return UNKNOWN
    return f"{row.score:.0%}" if "obeyed" in row.score_name else f"{row.score:.3f}"


def setting(value: object) -> str:
    """Return a setting's value as t2v.toml has it: `0.0001`, `flow`, `true`; a dash where a run has none."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


CELLS: dict[str, Callable[[RunRow], str]] = {
    "state": lambda row: f"{JOB_GLYPHS.get(row.state, ' ')} {state(row)}",
    "name": lambda row: row.title,
    "preset": lambda row: row.preset or UNKNOWN,
    "data": lambda row: row.data.removeprefix("data/") or UNKNOWN,
    "held-out": lambda row: figure(row.held_out),
    "loss": lambda row: figure(row.loss),
    "score": score,
    "cost": lambda row: UNKNOWN if row.usd is None else usd(row.usd),
    "duration": lambda row: UNKNOWN if row.seconds is None else duration(row.seconds),
    "host": lambda row: "here" if row.key.host == LOCAL else row.key.host,
    "steps": lambda row: grouped(row.step) if row.step else UNKNOWN,
    "note": lambda row: row.note,
}
