"""Charts of the same runs beside each other, one figure each, all looked at alike; what their keys turn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message

from remote.cost.ledger import Session
from t2v_tui.library.runs.measured import Measured
from t2v_tui.library.runs.traces import SMOOTHINGS, Axis, xs_of
from t2v_tui.widgets.curve.chart import Chart, Look, Plotted, said
from t2v_tui.widgets.pane import Pane

# The order of figures until somebody turns to another one; those that events hold beside them come after these.
FIRST_FIGURES = ("loss", "held_out_loss", "learning_rate", "grad_norm", "samples_per_s", "data_wait")
COUNTS = (1, 2, 4)
AXES = {Axis.STEP: "steps", Axis.EPOCH: "epochs", Axis.HOURS: "hours", Axis.DOLLARS: "dollars"}
NOT_PAID = "nobody is paid for the machine of what is chosen, or its price is not known\nx turns to another axis"
NO_EPOCH = "no epoch has ended in what is chosen\nx turns to another axis"


@dataclass(frozen=True)
class ChartedRun:
    """A run as charts show it.

    letter:   its mark, empty for the only one
    name:     what it is called
    sessions: when its host's VM ran and for how much, by which steps become dollars
    """

    key: Hashable
    letter: str
    name: str
    measured: Measured
    sessions: tuple[Session, ...]


class ChartGrid(Pane):
    """One chart, two or four. `look` is theirs together; `show_runs` draws what it was changed to."""

    class Pointed(Message):
        """The cursor was put elsewhere by a click."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.look = Look()
        self.figures = list(FIRST_FIGURES)
        self.count = 0  # of charts; 0: by the room that there is
        self.runs: Sequence[ChartedRun] = ()
        self._held: tuple[str, ...] = ()
        self._xs: dict[tuple[Hashable, str, Axis], tuple[object, Sequence[float] | None]] = {}

    def compose(self) -> ComposeResult:
        """Lay out the first chart."""
        with Horizontal(id="charts"):
            yield Chart(id="chart-0")

    # Drawing

    def show_runs(self, runs: Sequence[ChartedRun], held: Sequence[str]) -> None:
        """Draw runs as they are looked at now. held: every figure that any run has, also those that are not shown"""
        self.runs, self._held = runs, tuple(held)
        shown, count = list(self.query(Chart)), self._count_now()
        if len(shown) != count:
            self._lay_out(shown, count)
            return
        names = self._figures_now(count)
        plotted = {figure: self._plotted(figure) for figure in names}
        ends = [(one.xs[0], one.xs[-1]) for lines in plotted.values() for one in lines if len(one.xs)]
        reach = (min(first for first, _ in ends), max(last for _, last in ends)) if ends else None
        look = self.look = replace(self.look, reach=reach)
        for chart, figure in zip(shown, names, strict=True):
            chart.show(figure, plotted[figure], look, "" if plotted[figure] else self._why_nothing(figure))
        smooth = f"averaged over {round(1 / (1 - look.decay))} points" if look.decay else "each point"
        more = f"{' · logarithmic' if look.is_log else ''}{' · zoomed' if look.zoomed else ''}"
        self.entitle(f"over {AXES[look.axis]} · {smooth}{more}")

    @work(exclusive=True, group="lay-out")
    async def _lay_out(self, shown: list[Chart], count: int) -> None:
        grid = self.query_one("#charts", Horizontal)
        if len(shown) > count:
            await grid.remove_children(shown[count:])
        else:
            await grid.mount(*(Chart(id=f"chart-{number}") for number in range(len(shown), count)))
        grid.styles.grid_size_columns = 1 if count == 1 else 2
        grid.styles.grid_size_rows = max(1, count // 2)
        self.show_runs(self.runs, self._held)

    def _count_now(self) -> int:
        if self.count:
            return self.count
        room = self.screen.size
        return 4 if room.width >= 180 and room.height >= 50 else 1

    def _figures_now(self, count: int) -> list[str]:
        self.figures += [name for name in self._held if name not in self.figures]
        there = [name for name in self.figures if name in self._held] or self.figures
        return list(islice(cycle(there), count))

    def _plotted(self, figure: str) -> list[Plotted]:
        found = []
        for number, run in enumerate(self.runs):
            line = run.measured.lines.get(figure)
            if line is None:
                continue
            place = (run.key, figure, self.look.axis)
            if place not in self._xs or self._xs[place][0] is not line:
                self._xs[place] = (line, xs_of(line, run.measured, self.look.axis, run.sessions))
            xs = self._xs[place][1]
            if xs is not None:
                found.append(Plotted(run.letter, number, run.name, line, xs))
        return found

    def _why_nothing(self, figure: str) -> str:
        """What stands in the place of a chart that has no line."""
        if not self.runs:
            return "no run is chosen"
        if not any(figure in run.measured.lines for run in self.runs):
            has_any = any(run.measured.lines for run in self.runs)
            return (
                f"no {said(figure)} is in the events of what is chosen"
                if has_any
                else "none of its events are here yet"
            )
        return NOT_PAID if self.look.axis is Axis.DOLLARS else NO_EPOCH

    @property
    def chart(self) -> Chart:
        """Return the chart with the focus, else the first."""
        charts = list(self.query(Chart))
        return next((one for one in charts if one.has_focus), charts[0])

    def under_cursor(self) -> list[float | None] | None:
        """Return each run's value of `chart` at the cursor, None for one that has none there; None without a cursor."""
        if self.look.cursor is None:
            return None
        values = dict(zip((one.ink for one in self.chart.plotted), self.chart.values(), strict=True))
        return [values.get(number) for number in range(len(self.runs))]

    # What keys turn

    def turn_axis(self) -> None:
        """Turn to the next axis; a zoom and a cursor are of the old one."""
        axes = list(Axis)
        following = axes[(axes.index(self.look.axis) + 1) % len(axes)]
        self.look = replace(self.look, axis=following, zoomed=None, cursor=None)

    def turn_smoothing(self) -> None:
        """Average over more points; after the most, show each."""
        at = SMOOTHINGS.index(self.look.decay)
        self.look = replace(self.look, decay=SMOOTHINGS[(at + 1) % len(SMOOTHINGS)])

    def turn_figure(self, by: int) -> None:
        """Turn to the next figure, or the one before."""
        there = list(dict.fromkeys(self._figures_now(len(self.figures))))
        turned = there[by % len(there) :] + there[: by % len(there)]
        self.figures = turned + [name for name in self.figures if name not in turned]

    def change_scale(self) -> None:
        """Switch between the logarithmic and the linear scale."""
        self.look = replace(self.look, is_log=not self.look.is_log)

    def turn_count(self) -> None:
        """Show one chart, two or four."""
        self.count = COUNTS[(COUNTS.index(self._count_now()) + 1) % len(COUNTS)]

    def zoom(self, factor: float) -> None:
        """Look closer around the cursor, else around the end; or from further away. factor: of what is in sight"""
        first, last = self._span()
        x0, x1 = self.look.zoomed or (first, last)
        at = self.look.cursor
        anchor = at if at is not None and x0 <= at <= x1 else x1
        left, right = anchor - (anchor - x0) * factor, anchor + (x1 - anchor) * factor
        if right - left < (last - first) / 2000:
            return
        is_whole = left <= first and right >= last
        self.look = replace(self.look, zoomed=None if is_whole else (max(first, left), min(last, right)))

    def whole(self) -> None:
        """Show the whole of all runs."""
        self.look = replace(self.look, zoomed=None)

    def move_cursor(self, by: int) -> None:
        """Move the cursor by so many dots; at the edge of a zoom, what is looked at moves with it."""
        first, last = self._span()
        x0, x1 = self.look.zoomed or (first, last)
        dot = self.query(Chart).first().dot
        step = dot if abs(by) == 1 else (x1 - x0) / 100
        at = self.look.cursor if self.look.cursor is not None else (x1 if by < 0 else x0)
        at = max(first, min(last, at + by * step))
        if self.look.zoomed is not None and not x0 <= at <= x1:
            over = at - x1 if at > x1 else at - x0
            x0, x1 = x0 + over, x1 + over
        self.look = replace(self.look, cursor=at, zoomed=None if self.look.zoomed is None else (x0, x1))

    def drop_cursor(self) -> None:
        """Read values at the end of each line again."""
        self.look = replace(self.look, cursor=None)

    @on(Chart.Pointed)
    def _point(self, message: Chart.Pointed) -> None:
        message.stop()
        self.look = replace(self.look, cursor=message.x)
        self.post_message(self.Pointed())

    def _span(self) -> tuple[float, float]:
        spans = [chart.span for chart in self.query(Chart) if chart.plotted]
        return min((one[0] for one in spans), default=0.0), max((one[1] for one in spans), default=1.0)
