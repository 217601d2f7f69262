"""Curves in braille: eight dots a character, two across and four down."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from t2v_tui.widgets.curve.series import Series

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
ACROSS, DOWN = 2, 4
# Dots of a cell's column from one height to another: MASKS[left or right][first][last].
MASKS = tuple(
    tuple(tuple(sum(dots[first : last + 1]) for last in range(DOWN)) for first in range(DOWN)) for dots in DOTS
)
# Cells from one sign on a line to the next: between them a line that lies under it is still seen.
SIGN_EVERY = 6


@dataclass(frozen=True)
class Window:
    """What is looked at: x0 … x1 and y0 … y1, both ends on the outermost dots."""

    x0: float
    x1: float
    y0: float
    y1: float
    is_log: bool

    def height_of(self, y: float) -> float:
        """Return where y lies: 0 at the lower edge, 1 at the upper one."""
        if self.is_log:
            low, high, value = math.log(self.y0), math.log(self.y1), math.log(max(y, 1e-300))
        else:
            low, high, value = self.y0, self.y1, y
        return (value - low) / (high - low) if high > low else 0.5

    def dots_down(self, ys: Sequence[float], rows: int) -> list[int]:
        """Return the row of dots of each y, of so many rows of cells; outside of the window it is outside of them."""
        last = rows * DOWN - 1
        low, high, values = self.y0, self.y1, ys
        if self.is_log:
            low, high, values = math.log(low), math.log(high), [math.log(max(y, 1e-300)) for y in ys]
        span = high - low
        return [round((1 - (y - low) / span) * last) for y in values] if span > 0 else [round(last / 2)] * len(ys)

    def dots_across(self, xs: Sequence[float], columns: int) -> list[int]:
        """Return the column of dots of each x, of so many columns of cells."""
        last, low, span = columns * ACROSS - 1, self.x0, self.x1 - self.x0
        return [round((x - low) / span * last) for x in xs] if span > 0 else [round(last / 2)] * len(xs)

    def across(self, x: float) -> float:
        """Return where x lies: 0 at the left edge, 1 at the right one."""
        return (x - self.x0) / (self.x1 - self.x0) if self.x1 > self.x0 else 0.5


class Canvas:
    """Cells of dots. A cell has one ink: what is drawn later takes it whole, so that no line colours another's dots.

    ink:  a number the caller gives a meaning
    text of a cell may be a sign instead of its dots, whatever is drawn there later
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.bits = [[0] * columns for _ in range(rows)]
        self.inks = [[0] * columns for _ in range(rows)]
        self.signs: dict[tuple[int, int], tuple[str, int]] = {}

    def column(self, x: int, top: int, bottom: int, ink: int) -> None:
        """Set dots of one column, from row `top` to row `bottom` of dots."""
        cell, masks = x // ACROSS, MASKS[x % ACROSS]
        first, last = top // DOWN, bottom // DOWN
        if first == last and 0 <= first < self.rows and top <= bottom:  # nearly always, and in half the time
            mask = masks[top % DOWN][bottom % DOWN]
            if self.inks[first][cell] == ink:
                self.bits[first][cell] |= mask
            else:
                self.inks[first][cell], self.bits[first][cell] = ink, mask
            return
        top, bottom = max(0, top), min(self.rows * DOWN - 1, bottom)
        for row in range(top // DOWN, bottom // DOWN + 1) if top <= bottom else ():
            mask = masks[max(0, top - row * DOWN)][min(DOWN - 1, bottom - row * DOWN)]
            if self.inks[row][cell] == ink:
                self.bits[row][cell] |= mask
            else:
                self.inks[row][cell], self.bits[row][cell] = ink, mask

    def sign(self, column: int, row: int, sign: str, ink: int) -> None:
        """Put a character over the dots of a cell."""
        self.signs[row, column] = (sign, ink)

    def row(self, row: int) -> tuple[list[str], list[int]]:
        """Return characters and inks of one row of cells."""
        text, inks = [chr(0x2800 + bits) for bits in self.bits[row]], list(self.inks[row])
        for column in range(self.columns):
            if (sign := self.signs.get((row, column))) is not None:
                text[column], inks[column] = sign
        return text, inks


def draw(canvas: Canvas, series: Series, window: Window, ink: int, *, sign: str = "") -> tuple[int, int] | None:
    """Draw what lies in the window; returns the cell of its last point, (column, row), None when there is none.

    At most two values a column are looked at, its lowest and highest; columns without a point are bridged.

    sign: marks its points, or some of them where they are dense, so that the line is known without its colour
    """
    before: tuple[int, int, int] | None = None
    signed = -SIGN_EVERY
    for x, top, bottom in _columns(canvas, series, window):
        if before is not None:
            bridge(canvas, before, (x, top, bottom), ink)
        canvas.column(x, top, bottom, ink)
        before = (x, top, bottom)
        if sign and x // ACROSS - signed >= SIGN_EVERY:
            signed = x // ACROSS
            canvas.sign(signed, max(0, min(canvas.rows - 1, (top + bottom) // 2 // DOWN)), sign, ink)
    if before is None:
        return None
    row = round((1 - window.height_of(series.ys[_last(series, window)])) * (canvas.rows * DOWN - 1)) // DOWN
    return before[0] // ACROSS, max(0, min(canvas.rows - 1, row))


def _last(series: Series, window: Window) -> int:
    return max(0, series.between(window.x0, math.nextafter(window.x1, math.inf))[1] - 1)


def _columns(canvas: Canvas, series: Series, window: Window) -> Iterator[tuple[int, int, int]]:
    """(column of dots, highest row, lowest row) of each column that has points."""
    width, height = canvas.columns * ACROSS, canvas.rows * DOWN - 1
    step = (window.x1 - window.x0) / max(1, width - 1)
    first = series.between(window.x0 - step / 2, window.x1)[0]
    for x in range(width):
        end = series.between(0, window.x0 + (x + 0.5) * step)[1] if step else len(series)
        if end > first:
            low, high = series.span(first, end)
            yield x, round((1 - window.height_of(high)) * height), round((1 - window.height_of(low)) * height)
            first = end


def bridge(canvas: Canvas, left: tuple[int, int, int], right: tuple[int, int, int], ink: int) -> None:
    """Join two columns, each (dot across, highest row, lowest row): a slope between them, and no gap in height."""
    (x0, top0, bottom0), (x1, top1, bottom1) = left, right
    if x1 == x0 + 1:
        if top1 > bottom0:
            canvas.column(x1, bottom0 + 1, top1, ink)
        elif bottom1 < top0:
            canvas.column(x1, bottom1, top0 - 1, ink)
        return
    begin, end = (top0 + bottom0) / 2, (top1 + bottom1) / 2
    last = round(begin)
    for x in range(x0 + 1, x1):
        y = round(begin + (end - begin) * (x - x0) / (x1 - x0))
        canvas.column(x, min(y, last + (y > last)), max(y, last - (y < last)), ink)
        last = y


def label_rows(ticks: Sequence[float], window: Window, rows: int) -> dict[int, float]:
    """Return the row of cells of each tick, one a row, as {row: tick}."""
    placed: dict[int, float] = {}
    for tick in ticks:
        height = window.height_of(tick)
        if -0.01 <= height <= 1.01:
            placed.setdefault(max(0, min(rows - 1, round((1 - height) * (rows * DOWN - 1)) // DOWN)), tick)
    return placed
