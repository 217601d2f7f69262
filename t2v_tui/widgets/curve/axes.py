"""What stands around a drawing of dots: labels left of it, numbers below it, a legend above it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from t2v_tui.widgets.curve.braille import Window, label_rows
from t2v_tui.widgets.curve.ticks import linear_ticks, log_ticks, short_number

# Cells left of the axis.
LABELS = 7
# Of a number below, with the room around it.
NUMBER_CELLS = 14


def labels_left(window: Window, rows: int) -> list[str]:
    """Return what stands left of each row, the axis with it: `  0.12┤`, or `       │` where there is no label."""
    ticks = log_ticks if window.is_log else linear_ticks
    at = label_rows(ticks(window.y0, window.y1, max(2, rows // 2)), window, rows)
    labels = [short_number(at[row]) if row in at else "" for row in range(rows)]
    return [f"{label:>{LABELS}}{'┤' if label else '│'}" for label in labels]


def numbers_below(window: Window, columns: int, unit: str, *, before: str = "") -> list[str]:
    """Return the characters of the line below the axis; at its end stands ` unit`. before: each number, as `$`"""
    numbers, end = [" "] * columns, columns - len(unit) - 1
    for tick in linear_ticks(window.x0, window.x1, max(2, columns // NUMBER_CELLS)):
        text = before + short_number(tick)
        at = max(0, round(window.across(tick) * (columns - 1)) - len(text) // 2)
        if at + len(text) <= end:
            numbers[at : at + len(text)] = text
    numbers[end:] = f" {unit}"
    return numbers


def below(axis: Iterable[Segment], numbers: Sequence[str], style: Style) -> list[list[Segment]]:
    """Return the two lines below a drawing. axis: the segments of the first of them, from its corner on"""
    return [
        [Segment(" " * LABELS + "└", style), *axis],
        [Segment(" " * (LABELS + 1) + "".join(numbers), style)],
    ]


def inked(text: Sequence[str], inks: Sequence[int], ink: Callable[[int], Style]) -> list[Segment]:
    """Return a row of cells as segments, one for each run of cells of one ink."""
    segments, at = [], 0
    for number, same in groupby(inks):
        count = len(list(same))
        segments.append(Segment("".join(text[at : at + count]), ink(number)))
        at += count
    return segments


def legend(parts: Iterable[Segment], columns: int, style: Style, *, title: Segment | None = None) -> list[Segment]:
    """Return the line above a drawing: the title, then of the parts as many as there is room for, two cells apart."""
    segments = [Segment(" " * (LABELS + 1), style), *([title] if title else [])]
    room = columns - (title.cell_length if title else 0)
    for part in parts:
        if (room := room - cell_len(part.text) - 2) < -2:
            break
        segments += [part, Segment("  ", style)]
    return segments


def sentence(text: str, width: int, height: int, style: Style, blank: Style) -> list[list[Segment]]:
    """Return lines with a sentence in their middle, for where there is nothing to draw. blank: of the others"""
    lines = text.split("\n")
    top = max(0, (height - len(lines)) // 2)
    return [
        [Segment(lines[row - top].center(width)[:width], style)]
        if top <= row < top + len(lines)
        else [Segment(" " * width, blank)]
        for row in range(height)
    ]
