"""One figure of up to twenty runs: over steps, epochs, hours or dollars, smoothed, with a cursor that reads values."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import BindingType
from textual.events import MouseDown
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from t2v_core.format import grouped, usd
from t2v_tui.keys import bindings_for
from t2v_tui.library.runs.thinned import Line
from t2v_tui.library.runs.traces import Axis, Trace, extent, roomy, trace_of, value_at
from t2v_tui.text.runs.run_table import figure as in_words
from t2v_tui.widgets.curve.axes import LABELS, below, inked, labels_left, legend, numbers_below, sentence
from t2v_tui.widgets.curve.braille import ACROSS, DOWN, Canvas, Window, bridge

# Told apart by every kind of colour vision; a letter stands at the end of each line too. Those on a light ground are
# darker: letters and names in them are to be read.
ON_DARK = ("#56b4e9", "#e69f00", "#cc79a7", "#00a67d", "#e5701c", "#8e8cf0", "#b8a100", "#8f8f8f")
ON_LIGHT = ("#0065a8", "#a35200", "#9c3f73", "#006b50", "#8a3c00", "#4f4bc4", "#6b5e00", "#5c5c5c")
CURSOR, NO_DOT = "│", "\u2800"


@dataclass(frozen=True)
class Plotted:
    """A run's line in a chart. letter: its mark, empty for the only one; xs: the place of each row of the line"""

    letter: str
    ink: int
    name: str
    line: Line
    xs: Sequence[float]


@dataclass(frozen=True)
class Look:
    """How charts look at their runs, all of them alike.

    decay:  of the average; 0: each point as it is
    zoomed: from x to x; None: everything
    cursor: where values are read; None: at the end of each line
    reach:  from x to x of all charts; None: of this one's lines
    """

    axis: Axis = Axis.STEP
    decay: float = 0.98
    is_log: bool = False
    zoomed: tuple[float, float] | None = None
    cursor: float | None = None
    reach: tuple[float, float] | None = None


def said(figure: str) -> str:
    """Return a figure's name as people say it: `held-out loss`, `samples/s`, `gpu temperature c`."""
    return figure.replace("held_out", "held-out").replace("_per_s", "/s").replace("_", " ")


def at_place(look: Look) -> str:
    """Return where the cursor stands, in words: `step 12,410`, `epoch 3.52`, `1.25 hours`, `$4.20`."""
    x = look.cursor or 0.0
    match look.axis:
        case Axis.STEP:
            return f"step {grouped(x)}"
        case Axis.EPOCH:
            return f"epoch {x:.4g}"
        case Axis.HOURS:
            return f"{x:.4g} hours"
    return usd(x)


def colour_of(number: int, *, is_dark: bool) -> str:
    """Return the colour of a run by its number, on a dark or a light ground."""
    return (ON_DARK if is_dark else ON_LIGHT)[number % len(ON_DARK)]


class Chart(Widget, can_focus=True):
    """Draws what `show` was given; nothing while that is the same as before."""

    PANE = "chart-pane"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("chart-pane")]
    DEFAULT_CSS = "Chart { width: 1fr; height: 1fr; } Chart .chart--axis { color: $text-muted; } " + " ".join(
        f"{chart} .chart--{number} {{ color: {colour}; }} {chart} .chart--band-{number} {{ color: {colour} 40%; }}"
        for chart, colours in (("Chart", ON_DARK), ("Chart:light", ON_LIGHT))
        for number, colour in enumerate(colours)
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart--axis"} | {
        f"chart--{kind}{number}" for kind in ("", "band-") for number in range(len(ON_DARK))
    }

    class Pointed(Message):
        """The cursor is wanted at a place, by a click or by so many columns of dots."""

        def __init__(self, x: float) -> None:
            super().__init__()
            self.x = x

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.figure, self.look = "", Look()
        self.plotted: tuple[Plotted, ...] = ()
        self.empty = ""
        self._strips: list[Strip] | None = None
        self._canvas: Canvas | None = None
        self._window: Window | None = None
        self._traces: dict[tuple[object, ...], tuple[Plotted, Trace]] = {}
        self._inks: list[Style] = []

    def show(self, figure: str, plotted: Sequence[Plotted], look: Look, empty: str = "") -> None:
        """Show lines of one figure; what stands there instead when there is none is `empty`."""
        same_lines = figure == self.figure and len(plotted) == len(self.plotted) and all(
            one.line is other.line and one.xs is other.xs and one.letter == other.letter and one.name == other.name
            for one, other in zip(plotted, self.plotted, strict=True)
        )  # fmt: skip
        if same_lines and look == self.look and empty == self.empty:
            return
        is_only_cursor = same_lines and replace(look, cursor=self.look.cursor) == self.look
        self.figure, self.plotted, self.look, self.empty = figure, tuple(plotted), look, empty
        if not is_only_cursor:
            self._canvas = None
        self._strips = None
        self.refresh()

    def on_resize(self) -> None:
        """Draw everything in the new size."""
        self._canvas, self._strips = None, None

    def notify_style_update(self) -> None:
        """Drop what was drawn in the old colours."""
        super().notify_style_update()
        self._strips, self._inks = None, []

    @property
    def span(self) -> tuple[float, float]:
        """Return the first and last place of all lines, 0 and 1 where there is none."""
        if self.look.reach is not None:
            return self.look.reach
        ends = [(one.xs[0], one.xs[-1]) for one in self.plotted if len(one.xs)]
        return min((first for first, _ in ends), default=0.0), max((last for _, last in ends), default=1.0)

    @property
    def dot(self) -> float:
        """Return how far a column of dots is from the next, along the axis."""
        first, last = self.look.zoomed or self.span
        return (last - first) / max(1, ACROSS * self._columns - 1)

    def on_mouse_down(self, event: MouseDown) -> None:
        """Put the cursor there."""
        first, last = self.look.zoomed or self.span
        at = (event.x - LABELS - 1) / max(1, self._columns - 1)
        if 0 <= at <= 1:
            self.post_message(self.Pointed(first + at * (last - first)))

    @property
    def _columns(self) -> int:
        return max(1, self.size.width - LABELS - 1)

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Return one line; the first that is asked for draws them all."""
        if self._strips is None:
            self._strips = self._draw()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        width, height = self.size
        rows = height - 3
        if rows < 2 or self._columns < 8:
            return []
        if self._canvas is None:
            self._draw_lines(rows)
        canvas, window = self._canvas, self._window
        if canvas is None or window is None:
            lines = sentence(self.empty, width, height, self._axis, self.rich_style)
            return [Strip(line, width) for line in lines]
        cursor = self._cursor_column(window, canvas.columns)
        lines = [self._legend(canvas.columns)]
        for row, label in enumerate(labels_left(window, rows)):
            lines.append([Segment(label, self._axis), *self._row(canvas, row, cursor)])
        lines += self._x_axis(window, canvas.columns, cursor)
        style = self.rich_style
        return [Strip(line).adjust_cell_length(width, style) for line in lines]

    def _draw_lines(self, rows: int) -> None:
        """On a canvas that is kept while only the cursor moves."""
        look, columns = self.look, self._columns
        first, last = look.zoomed or self.span
        traces = self._traces_now()
        is_alone = len(traces) == 1
        reach = extent(traces, with_band=is_alone)
        if reach is None:
            self._canvas = self._window = None
            return
        low, high = roomy(*reach)
        is_log = look.is_log and low > 0
        self._window = window = Window(first, last if last > first else first + 1, low, high, is_log)
        self._canvas = canvas = Canvas(columns, rows)
        if is_alone:
            draw_band(canvas, traces[0], window, _band(self.plotted[0].ink))
        for one, trace in zip(self.plotted, traces, strict=True):
            end = draw_trace(canvas, trace, window, _line(one.ink))
            if end is not None and one.letter:
                canvas.sign(*_free_cell(canvas, *end), one.letter, _line(one.ink))

    def _cursor_column(self, window: Window, columns: int) -> int | None:
        x = self.look.cursor
        if x is None or not window.x0 <= x <= window.x1:
            return None
        return round(window.across(x) * (columns - 1))

    def _row(self, canvas: Canvas, row: int, cursor: int | None) -> list[Segment]:
        text, inks = canvas.row(row)
        text = [" " if sign == NO_DOT else sign for sign in text]
        if cursor is not None and text[cursor] == " ":
            text[cursor], inks[cursor] = CURSOR, 0
        return inked(text, inks, self._ink)

    def _x_axis(self, window: Window, columns: int, cursor: int | None) -> list[list[Segment]]:
        line = ["─"] * columns
        if cursor is not None:
            line[cursor] = "┴"
        dollar = "$" if self.look.axis is Axis.DOLLARS else ""
        numbers = numbers_below(window, columns, self.look.axis, before=dollar)
        end = columns - len(self.look.axis) - 1
        if cursor is not None:
            place = at_place(self.look)
            at = max(0, min(end - len(place) - 1, cursor - len(place) // 2))
            left, right = at, at + len(place)  # what is left of a number under it goes
            while left and numbers[left - 1] != " ":
                left -= 1
            while right < end and numbers[right] != " ":
                right += 1
            numbers[left:right] = " " * (right - left)
            numbers[at : at + len(place)] = place
        return below([Segment("".join(line), self._axis)], numbers, self._axis)

    def _traces_now(self) -> list[Trace]:
        """Of each line; what was made of the same arrays in the same way is not made again."""
        look, dots, kept = self.look, self._columns * ACROSS, self._traces
        is_alone = len(self.plotted) == 1
        self._traces, shown = {}, []
        for one in self.plotted:
            how = (id(one.line), id(one.xs), look.zoomed, dots, look.decay, is_alone)
            self._traces[how] = made = kept.get(how) or (
                one, trace_of(one.line, one.xs, look.zoomed, dots, look.decay, with_band=is_alone)
            )  # fmt: skip
            shown.append(made[1])
        return shown

    def values(self) -> list[float | None]:
        """Return each line's value under the cursor, else its newest."""
        return [value_at(trace, self.look.cursor) for trace in self._traces_now()]

    def _legend(self, columns: int) -> list[Segment]:
        """The figure, and the value of as many runs as there is room for."""
        parts, is_alone = [], len(self.plotted) == 1
        for one, value in zip(self.plotted, self.values(), strict=True):
            name = f" {one.name}" if is_alone or len(self.plotted) * 28 < columns else ""
            parts.append(Segment(f"{one.letter}{name} {in_words(value)}".strip(), self._ink(_line(one.ink))))
        title = Segment(f"{said(self.figure)}  ", self._axis + Style(bold=True))
        return legend(parts, columns, self._axis, title=title)

    @property
    def _axis(self) -> Style:
        return self._ink(0)

    def _ink(self, number: int) -> Style:
        """Of the axis, the lines, then their bands. To find a style takes longer than to draw a line."""
        if not self._inks:
            kinds = ["axis", *(f"{kind}{number}" for kind in ("", "band-") for number in range(len(ON_DARK)))]
            self._inks = [self.get_component_rich_style(f"chart--{kind}") for kind in kinds]
        return self._inks[number]


def _free_cell(canvas: Canvas, column: int, row: int) -> tuple[int, int]:
    """Where lines end together, each letter has a cell of its own, from the right."""
    while column and (row, column) in canvas.signs:
        column -= 1
    return column, row


def _line(ink: int) -> int:
    return 1 + ink % len(ON_DARK)


def _band(ink: int) -> int:
    return 1 + len(ON_DARK) + ink % len(ON_DARK)


def draw_trace(canvas: Canvas, trace: Trace, window: Window, ink: int) -> tuple[int, int] | None:
    """Draw a line; returns the cell of its last point, (column, row), None when none lies in the window."""
    xs, ys = _inside(trace, window)
    if not xs:
        return None
    across, down, column = window.dots_across(xs, canvas.columns), window.dots_down(ys, canvas.rows), canvas.column
    x0, y0 = across[0], down[0]
    for x, y in zip(across, down, strict=True):
        if x == x0 + 1:  # most of them: one stroke joins it with the one before
            column(x, min(y, y0 + (y > y0)), max(y, y0 - (y < y0)), ink)
        else:
            if x > x0:
                bridge(canvas, (x0, y0, y0), (x, y, y), ink)
            column(x, y, y, ink)
        x0, y0 = x, y
    return x0 // ACROSS, max(0, min(canvas.rows - 1, y0 // DOWN))


def _inside(trace: Trace, window: Window) -> tuple[list[float], list[float]]:
    """Its points in the window as xs and ys, and where it goes in and out."""
    first, end = bisect_left(trace.xs, window.x0), bisect_right(trace.xs, window.x1)
    xs, ys = list(trace.xs[first:end]), list(trace.ys[first:end])
    if first and first < len(trace.xs) and (not xs or xs[0] > window.x0):
        xs, ys = [window.x0, *xs], [_between(trace, first, window.x0), *ys]
    if 0 < end < len(trace.xs):
        xs, ys = [*xs, window.x1], [*ys, _between(trace, end, window.x1)]
    return xs, ys


def draw_band(canvas: Canvas, trace: Trace, window: Window, ink: int) -> None:
    """Draw from the lowest to the highest of what each point stands for."""
    first, end = bisect_left(trace.xs, window.x0), bisect_right(trace.xs, window.x1)
    across = window.dots_across(trace.xs[first:end], canvas.columns)
    tops, bottoms = (window.dots_down(ys[first:end], canvas.rows) for ys in (trace.highs, trace.lows))
    for x, top, bottom in zip(across, tops, bottoms, strict=True):
        canvas.column(x, top, bottom, ink)


def _between(trace: Trace, at: int, x: float) -> float:
    """Between the point before `at` and the one there."""
    x0, x1, y0, y1 = trace.xs[at - 1], trace.xs[at], trace.ys[at - 1], trace.ys[at]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 > x0 else y1
