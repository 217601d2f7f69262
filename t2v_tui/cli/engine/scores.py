"""Scores as a table: on a terminal drawn, in a pipe tab-separated; on stderr, beside the narration."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from t2v_core.events import ScoreEvent


def print_scores(events: Sequence[ScoreEvent]) -> None:
    """Print one row a score; the columns are the fields that any of them has, in order of appearance."""
    scores = [event.plain() for event in events]
    columns = list(dict.fromkeys(key for score in scores for key in score))
    rows = [[shown(score.get(column)) for column in columns] for score in scores]
    if not sys.stderr.isatty():
        for row in [columns, *rows]:
            print("\t".join(row), file=sys.stderr)
        return
    table = Table(box=box.SIMPLE)
    for column in columns:
        is_number = any(isinstance(score.get(column), int | float) for score in scores)
        table.add_column(column.replace("_", " "), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(stderr=True).print(table)


def shown(value: object) -> str:
    """Return a cell's text: four figures are as many as a score of some dozen prompts supports."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
