"""A curve as text: braille dots, two a column and four a row, with numbers at both axes."""

from __future__ import annotations

from collections.abc import Sequence

# Bit of each dot of a braille cell, by (column, row).
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_LABEL_WIDTH = 8


def curve(points: Sequence[tuple[float, float]], *, columns: int = 60, rows: int = 8) -> list[str]:
    """Draw y over x; points that share a dot's column are averaged.

    points: (x, y), x rising
    Returns `rows` + 2 lines; none for fewer than two points.
    """
    if len(points) < 2:
        return []
    heights = _column_means(points, columns * 2)
    low, high = min(heights.values()), max(heights.values())
    span = (high - low) or 1.0
    cells = [[0] * columns for _ in range(rows)]
    for x, y in heights.items():
        row = round((high - y) / span * (rows * 4 - 1))
        cells[row // 4][x // 2] |= _DOTS[x % 2][row % 4]
    labels = {0: f"{high:.4g}", rows // 2: f"{(high + low) / 2:.4g}", rows - 1: f"{low:.4g}"}
    drawn = [
        f"{labels.get(index, ''):>{_LABEL_WIDTH}} ┤" + "".join(chr(0x2800 + bits) for bits in cell).rstrip("⠀")
        for index, cell in enumerate(cells)
    ]
    first, last = f"{points[0][0]:g}", f"{points[-1][0]:g}"
    axis = " " * (_LABEL_WIDTH + 1) + "└" + "─" * columns
    return [*drawn, axis, " " * (_LABEL_WIDTH + 2) + first + last.rjust(columns - len(first))]


def _column_means(points: Sequence[tuple[float, float]], width: int) -> dict[int, float]:
    start, end = points[0][0], points[-1][0]
    span = (end - start) or 1.0
    gathered: dict[int, list[float]] = {}
    for x, y in points:
        gathered.setdefault(round((x - start) / span * (width - 1)), []).append(y)
    return {column: sum(values) / len(values) for column, values in gathered.items()}
