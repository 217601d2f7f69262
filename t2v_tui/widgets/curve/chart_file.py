"""A chart as a file: SVG, PNG or CSV, by the suffix of its name."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from t2v_core.disk.files import describe_os_error, staged_file
from t2v_core.errors import InvalidRequest
from t2v_tui.library.runs.traces import Axis, Trace, roomy
from t2v_tui.widgets.curve.ticks import linear_ticks, log_ticks, short_number

SUFFIXES = (".svg", ".png", ".csv")
SIZE = (1200, 700)
LEFT, RIGHT, TOP, LINE = 80, 30, 60, 22
# On paper; each differs from its neighbours for every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a00", "#555555")
INK, PALE = "#222222", "#dddddd"


@dataclass(frozen=True)
class Curve:
    """One run's line. name: as the legend says it; trace: xs along the chart's axis"""

    name: str
    trace: Trace


@dataclass(frozen=True)
class Stroke:
    """A line through points, in pixels."""

    points: Sequence[tuple[float, float]]
    colour: str
    width: float


@dataclass(frozen=True)
class Words:
    """A text at a place in pixels. anchor: which of its ends is there: start, middle or end"""

    x: float
    y: float
    text: str
    anchor: str = "start"
    colour: str = INK
    size: int = 14


def write_chart(path: Path, figure: str, axis: Axis, curves: Sequence[Curve], *, is_log: bool = False) -> None:
    """Write a chart, all of it or nothing.

    Raises InvalidRequest for another suffix, for nothing to draw, and for a PNG without Pillow; EngineError when it
    cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequest(f"{path.name} is not a chart that can be written", "end its name in .svg, .png or .csv")
    if not any(len(one.trace.xs) for one in curves):
        raise InvalidRequest(f"there is no {figure} over {axis} to draw", "choose another figure, axis or run")
    match path.suffix.lower():
        case ".csv":
            data = as_csv(figure, axis, curves).encode()
        case ".svg":
            data = as_svg(*drawing(figure, axis, curves, is_log=is_log)).encode()
        case _:
            data = as_png(*drawing(figure, axis, curves, is_log=is_log))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(path) as staged:
            staged.write_bytes(data)
    except OSError as error:
        raise describe_os_error(error, path) from error


def as_csv(figure: str, axis: Axis, curves: Sequence[Curve]) -> str:
    """Return a line a point: run, place, value, and the lowest and highest of what the point stands for."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["run", str(axis), figure, "lowest", "highest"])
    for one in curves:
        trace = one.trace
        table.writerows([one.name, *row] for row in zip(trace.xs, trace.ys, trace.lows, trace.highs, strict=True))
    return text.getvalue()


def drawing(figure: str, axis: Axis, curves: Sequence[Curve], *, is_log: bool) -> tuple[list[Stroke], list[Words]]:
    """Return what is drawn, in pixels from the upper left corner of SIZE."""
    drawn = [one for one in curves if len(one.trace.xs)]
    x0, x1 = min(one.trace.xs[0] for one in drawn), max(one.trace.xs[-1] for one in drawn)
    y0, y1 = min(min(one.trace.ys) for one in drawn), max(max(one.trace.ys) for one in drawn)
    x1, (y0, y1) = (x1 if x1 > x0 else x0 + 1), roomy(y0, y1)
    is_log = is_log and y0 > 0
    bottom = SIZE[1] - 60 - LINE * math.ceil(len(drawn) / 3)

    def place(x: float, y: float) -> tuple[float, float]:
        share = math.log(y / y0) / math.log(y1 / y0) if is_log else (y - y0) / (y1 - y0)
        return LEFT + (x - x0) / (x1 - x0) * (SIZE[0] - LEFT - RIGHT), bottom - share * (bottom - TOP)

    strokes, words = [], [Words(LEFT, TOP - 24, f"{figure} over {axis}{', logarithmic' if is_log else ''}", size=20)]
    for tick in (log_ticks if is_log else linear_ticks)(y0, y1, 8):
        _, y = place(x0, tick)
        strokes.append(Stroke([(LEFT, y), (SIZE[0] - RIGHT, y)], PALE, 1))
        words.append(Words(LEFT - 10, y + 5, short_number(tick), "end"))
    for tick in linear_ticks(x0, x1, 10):
        x, _ = place(tick, y0)
        strokes.append(Stroke([(x, bottom), (x, bottom + 6)], INK, 1))
        words.append(Words(x, bottom + 24, short_number(tick), "middle"))
    strokes.append(Stroke([(LEFT, TOP), (LEFT, bottom), (SIZE[0] - RIGHT, bottom)], INK, 1))
    for number, one in enumerate(drawn):
        colour = COLOURS[number % len(COLOURS)]
        strokes.append(Stroke([place(x, y) for x, y in zip(one.trace.xs, one.trace.ys, strict=True)], colour, 2))
        x, y = LEFT + (number % 3) * 370, bottom + 52 + LINE * (number // 3)
        strokes.append(Stroke([(x, y - 5), (x + 24, y - 5)], colour, 3))
        words.append(Words(x + 32, y, f"{one.name[:34]}  {one.trace.ys[-1]:.4g}"))
    return strokes, words


def as_svg(strokes: Sequence[Stroke], words: Sequence[Words]) -> str:
    """Return the drawing as SVG, with nothing in it that comes from elsewhere."""
    width, height = SIZE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for one in strokes:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in one.points)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{one.colour}" stroke-width="{one.width:g}"/>')
    lines += [
        f'<text x="{text.x:.1f}" y="{text.y:.1f}" font-size="{text.size}" text-anchor="{text.anchor}" '
        f'fill="{text.colour}">{escape(text.text)}</text>'
        for text in words
    ]
    return "\n".join([*lines, "</svg>", ""])


def as_png(strokes: Sequence[Stroke], words: Sequence[Words]) -> bytes:
    """Return the drawing as PNG, in twice its pixels. Raises InvalidRequest where Pillow is not installed."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise InvalidRequest(
            "a PNG is drawn by Pillow, which is not installed", "write an .svg, or: pip install pillow"
        ) from error
    scale = 2
    image = Image.new("RGB", (SIZE[0] * scale, SIZE[1] * scale), "#ffffff")
    pen = ImageDraw.Draw(image)
    for one in strokes:
        points = [(x * scale, y * scale) for x, y in one.points]
        pen.line(points, fill=one.colour, width=max(1, round(one.width * scale)), joint="curve")
    for text in words:
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[text.anchor]
        font = ImageFont.load_default(text.size * scale)
        pen.text((text.x * scale, text.y * scale), text.text, fill=text.colour, anchor=anchor, font=font)
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
