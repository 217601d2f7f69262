"""Rows of a log in as many lines as each needs: which parts of which rows are in sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len


@dataclass(frozen=True)
class Part:
    """What stands on one line of the screen: a row of the log, and from which cell to which of it."""

    row: int
    begin: int
    end: int


def breaks(text: str, width: int) -> list[int]:
    """Return the cells at which the lines of a text begin, each `width` cells at most; a wide character stays whole."""
    cells = cell_len(text)
    if cells <= width:
        return [0]
    if cells == len(text):
        return list(range(0, cells, width))
    begins, at = [0], 0
    for letter in text:
        size = cell_len(letter)
        if at + size - begins[-1] > width:
            begins.append(at)
        at += size
    return begins


def parts_of(row: int, text: str, width: int, height: int) -> list[Part]:
    """Return the lines of one row. One that is taller than the screen is cut there: unwrapped it can be read whole."""
    begins = breaks(text, max(2, width))[: max(1, height)]
    ends = [*begins[1:], begins[-1] + max(2, width)]
    return [Part(row, begin, end) for begin, end in zip(begins, ends, strict=True)]


def last_top(rows: int, text_of: Callable[[int], str], width: int, height: int) -> int:
    """Return the first row in sight when the last one is at the bottom."""
    lines, row = 0, rows
    while row > 0 and lines < height:
        row -= 1
        lines += len(parts_of(row, text_of(row), width, height))
    return row


def in_sight(top: int, rows: int, text_of: Callable[[int], str], width: int, height: int) -> list[Part]:
    """Return the parts in sight below row `top`; at the end of the log those that end with its last line."""
    parts: list[Part] = []
    for row in range(top, min(rows, top + height)):
        parts += parts_of(row, text_of(row), width, height)
    is_end = top >= last_top(rows, text_of, width, height)
    return parts[-height:] if is_end else parts[:height]
