"""Jobs as a table and as JSON."""

from __future__ import annotations

import os
from collections.abc import Container, Sequence
from typing import Any

from remote.hosts.settings import LOCAL
from remote.replies.job_row import JobRow
from t2v_core.format import ago
from t2v_tui.cli.which_job import Listed
from t2v_tui.text.job_words import JOB_GLYPHS, job_in_words

COLOURS = {
    "running": "36", "starting": "36", "succeeded": "32", "failed": "31", "lost": "31", "preempted": "33",
    "stalled": "33",
}  # fmt: skip
HEAD = ("job", "verb", "state", "since", "progress", "host")
LONGEST_PROGRESS = 48


def as_json_rows(listed: Sequence[Listed], unreachable: Container[str]) -> list[dict[str, Any]]:
    """Return each job as values for JSON.

    link: connected, unreachable, or `not asked` when the row is from memory; seen_t: when its host said so
    """
    return [
        {
            **one.row.to_json(),
            "state": one.row.word,
            "host": one.host,
            "link": "unreachable" if one.host in unreachable else "connected" if one.seen_t is None else "not asked",
            "seen_t": one.seen_t,
        }
        for one in listed
    ]


def table(listed: Sequence[Listed], *, now_t: float, is_terminal: bool) -> list[str]:
    """Return columns aligned, a line a job; the state in colour on a terminal."""
    if not listed:
        return []
    ordered = sorted(listed, key=lambda one: (one.row.began_t, one.row.job))
    rows = [HEAD, *(_job_cells(one, now_t) for one in ordered)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if not is_terminal or os.environ.get("NO_COLOR"):
        return lines
    return [lines[0], *(_coloured(line, one.row.word) for line, one in zip(lines[1:], ordered, strict=True))]


def _job_cells(one: Listed, now_t: float) -> tuple[str, ...]:
    row = one.row
    moment = row.ended_t or row.started_t or row.queued_t
    since = ago(now_t - moment) if moment else ""
    is_old = one.seen_t is not None and not row.has_ended
    host = "here" if one.host == LOCAL else one.host
    if is_old and one.seen_t is not None:
        host += f" (known {ago(now_t - one.seen_t)} ago)"
    if row.of:
        host += f", of {row.of}"
    return (row.job, row.verb, f"{JOB_GLYPHS.get(row.word, ' ')} {row.word}", since, _progress(row), host)


def _progress(row: JobRow) -> str:
    text = job_in_words(row)
    return text if len(text) <= LONGEST_PROGRESS else text[: LONGEST_PROGRESS - 1] + "…"


def _coloured(line: str, state: str) -> str:
    shown = f"{JOB_GLYPHS.get(state, ' ')} {state}"
    colour = COLOURS.get(state)
    return line.replace(shown, f"\x1b[{colour}m{shown}\x1b[0m", 1) if colour else line
