"""All trainings beside each other: a table to mark them in, their curves, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message

from t2v_core.errors import EngineError
from t2v_tui.keys import bindings_for
from t2v_tui.library.runs.labels import Label, keep_label, label_of
from t2v_tui.library.runs.measured import Measured
from t2v_tui.library.runs.traces import trace_of
from t2v_tui.messages import CommandRan, Failed, GoTo, Notice, ShowJob
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.screens.run_table import LETTERS, RunTable
from t2v_tui.store.runs import RunRow
from t2v_tui.store.state import JobKey, State
from t2v_tui.text import command_lines
from t2v_tui.text.runs.run_comparison import NAME_CELLS, clipped, comparison_width
from t2v_tui.text.unreachable import instead_of_empty
from t2v_tui.widgets.comparison import Comparison
from t2v_tui.widgets.curve.chart import Look, Plotted, colour_of, said
from t2v_tui.widgets.curve.chart_grid import ChartedRun, ChartGrid
from t2v_tui.widgets.curve.ticks import short_number
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.rows import Rows
from t2v_tui.workers.run_reading import KnownRun, RunsReading

MOST_MARKED = 20
NOTHING_KNOWN = KnownRun()
# Of a chart as a file: more than any screen has.
DOTS = 4000
VIEWS = ("both", "chart", "comparison")
EMPTY = """No training yet, on any host.

t   starts one; each is a row here, with its curve,
    its settings and what it cost

space marks rows: their curves lie over each other,
beside the settings that differ"""


class RunsRead(Message):
    """Something was read of these runs."""

    def __init__(self, known: Mapping[JobKey, KnownRun]) -> None:
        super().__init__()
        self.known = known


class CompareScreen(Cockpit):
    NAME = "compare"
    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("compare")]

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[JobKey, KnownRun] = {}
        self.rows: dict[JobKey, RunRow] = {}
        self.marked: list[JobKey] = []
        self.view = "both"
        self._comparison_width = -1
        self._reading: RunsReading | None = None

    def body(self) -> ComposeResult:
        """Lay out the table over charts and comparison."""
        yield RunTable()
        with Horizontal(id="below"):
            yield ChartGrid(id="charts-pane")
            yield Comparison(id="comparison")

    def on_mount(self) -> None:
        """Begin to read, and put the focus on the table."""
        self._reading = RunsReading(self.cockpit.workspace, self.cockpit.services, self._tell_runs)
        self._reading.start()
        self.table.rows.focus()

    def on_unmount(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.close()

    def _tell_runs(self, known: Mapping[JobKey, KnownRun]) -> None:
        self.post_message(RunsRead(known))

    @on(RunsRead)
    def _take_known(self, message: RunsRead) -> None:
        self.known.update(message.known)
        if self.is_current and self.cockpit.is_running:
            self.show(self.cockpit.state, self.cockpit.now())

    # Drawing

    def show(self, state: State, now_t: float) -> None:
        """Draw table, charts and comparison; each only where something is new."""
        jobs = {job.key: job for job in state.jobs.values() if job.row.verb == "train"}
        self.rows = {key: self.known.get(key, NOTHING_KNOWN).row(key, job.row, now_t) for key, job in jobs.items()}
        self.marked = [key for key in self.marked if key in self.rows]
        silence = instead_of_empty(list(state.hosts.values()), "its runs", now_t)
        self._want(self.table.show_runs(self.rows, self.marked, silence or EMPTY))
        self._show_below()

    def _want(self, shown: Sequence[JobKey]) -> None:
        if self._reading is not None:
            chosen = self.table.chosen
            first = [*self.marked, *([chosen] if chosen else [])]
            self._reading.want(list(dict.fromkeys([*first, *shown])), may_grow=bool(self.cockpit.state.alive))
            self._reading.fetch(first)

    def compared(self) -> list[JobKey]:
        """Return the marked runs, else the one with the cursor."""
        chosen = self.table.chosen
        return self.marked or ([chosen] if chosen is not None else [])

    def _show_below(self) -> None:
        keys, below = self.compared(), self.query_one("#below", Horizontal)
        below.display = bool(self.rows)
        is_narrow = self.size.width < 110
        view = "chart" if self.view == "both" and is_narrow else self.view
        charts, block = self.charts, self.query_one(Comparison)
        charts.display, block.display = view != "comparison", view != "chart"
        width = 0 if view == "comparison" else comparison_width(len(keys), 84 if self.size.width >= 180 else 60)
        if width != self._comparison_width:  # to set it lays the whole screen out anew
            self._comparison_width = width
            block.styles.width = width or "1fr"
        known = [self.known.get(key, NOTHING_KNOWN) for key in keys]
        if charts.display:
            letters = LETTERS if self.marked else [""]
            runs = [
                ChartedRun(key, letter, self.rows[key].title, run.measured, run.sessions)
                for key, letter, run in zip(keys, letters, known, strict=False)
            ]
            charts.show_runs(runs, list({name: None for key in self.rows for name in self._measured(key).lines}))
        if block.display:
            is_dark = self.app.current_theme.dark
            marked = range(len(keys)) if self.marked else ()
            marks = [(LETTERS[at], colour_of(at, is_dark=is_dark)) for at in marked]
            runs_compared = [self.rows[key] for key in keys]
            block.show_runs(runs_compared, [run.settings for run in known], self._at_cursor(), marks)

    def _measured(self, key: JobKey) -> Measured:
        return self.known.get(key, NOTHING_KNOWN).measured

    def _at_cursor(self) -> tuple[str, list[float | None]] | None:
        """Where the cursor of the charts stands, in words, and each run's value there."""
        values, look = self.charts.under_cursor(), self.look
        if values is None or look.cursor is None:
            return None
        return clipped(f"{said(self.charts.chart.figure)} @ {short_number(look.cursor)}", NAME_CELLS), values

    @property
    def table(self) -> RunTable:
        """Return the table of runs, which knows its order and its filter."""
        return self.query_one(RunTable)

    @property
    def charts(self) -> ChartGrid:
        """Return the charts."""
        return self.query_one(ChartGrid)

    @property
    def look(self) -> Look:
        """Return how the charts look at their runs."""
        return self.charts.look

    # What is chosen

    @on(Rows.Highlighted)
    def _highlighted(self) -> None:
        if self._is_made and not self.marked:
            self._show_below()
        if self._is_made and self._reading is not None and (chosen := self.table.chosen) is not None:
            self._reading.fetch([chosen])

    @on(Rows.Selected)
    def _open(self) -> None:
        if (chosen := self.table.chosen) is not None:
            self.post_message(ShowJob(chosen))
            self.post_message(GoTo("train"))

    def action_mark(self) -> None:
        """Mark the run with the cursor, or unmark it."""
        chosen = self.table.chosen
        if chosen is None:
            self.notify("there is no run to mark; t starts one", timeout=3)
        elif chosen in self.marked:
            self.marked.remove(chosen)
        elif len(self.marked) < MOST_MARKED:
            self.marked.append(chosen)
        else:
            self.notify(f"{MOST_MARKED} runs at once; space on one removes it", timeout=4)
        self.redraw()

    def action_unmark(self) -> None:
        """Unmark all."""
        self.marked.clear()
        self.redraw()

    def redraw(self) -> None:
        """Draw the body again."""
        self.show(self.cockpit.state, self.cockpit.now())

    # The table

    def action_turn_sort(self) -> None:
        """Sort by the next column."""
        self.table.turn_sort()
        self.redraw()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.table.is_reversed = not self.table.is_reversed
        self.redraw()

    def action_group(self) -> None:
        """Put runs of one data set together, or not."""
        self.table.by_data = not self.table.by_data
        self.redraw()

    # The charts

    def action_turn_axis(self) -> None:
        """Turn to the next axis; a zoom and a cursor are of the old one."""
        self.charts.turn_axis()
        self._show_below()

    def action_turn_smoothing(self) -> None:
        """Average over more points; after the most, show each."""
        self.charts.turn_smoothing()
        self._show_below()

    def action_turn_figure(self, by: int) -> None:
        """Turn to the next figure, or the one before."""
        self.charts.turn_figure(by)
        self._show_below()

    def action_change_scale(self) -> None:
        """Switch between the logarithmic and the linear scale."""
        self.charts.change_scale()
        self._show_below()

    def action_turn_charts(self) -> None:
        """Show one chart, two or four."""
        self.charts.turn_count()
        self._show_below()

    def action_zoom(self, factor: float) -> None:
        """Look closer around the cursor, else around the end; or from further away."""
        self.charts.zoom(factor)
        self._show_below()

    def action_whole(self) -> None:
        """Show the whole of all runs."""
        self.charts.whole()
        self._show_below()

    def action_cursor(self, by: int) -> None:
        """Move the cursor by so many dots; at the edge of a zoom, what is looked at moves with it."""
        self.charts.move_cursor(by)
        self._show_below()

    @on(ChartGrid.Pointed)
    def _pointed(self) -> None:
        self._show_below()

    def action_turn_view(self) -> None:
        """Show chart and comparison, or one of them."""
        views = VIEWS[1:] if self.size.width < 110 else VIEWS
        now = self.view if self.view in views else "chart"
        self.view = views[(views.index(now) + 1) % len(views)]
        self._show_below()

    def action_shift(self, by: int) -> None:
        """Show runs of the comparison that were out of sight."""
        self.query_one(Comparison).first += by
        self._show_below()

    def action_zoom_pane(self) -> None:
        """Give the pane with the focus the whole screen, or shrink it again."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            pane = self.table if isinstance(self.focused, Rows) else self.focused
            self.maximize(pane)

    # Filter, name, note

    def action_filter(self) -> None:
        """Ask for the words that runs must have."""
        self.table.entry.ask("filter", self.table.wanted)

    def action_name(self) -> None:
        """Ask for the name of the run with the cursor."""
        self._ask_about("name")

    def action_note(self) -> None:
        """Ask for a note on the run with the cursor."""
        self._ask_about("note")

    def _ask_about(self, what: str) -> None:
        if (chosen := self.table.chosen) is None:
            self.notify(f"there is no run to give a {what}; t starts one", timeout=3)
        else:
            row = self.rows[chosen]
            self.table.entry.ask(what, row.name if what == "name" else row.note)

    @on(EntryLine.Typed)
    def _filter_as_typed(self, event: EntryLine.Typed) -> None:
        if event.what == "filter" and self.table.wanted != event.text:
            self.table.wanted = event.text
            self.redraw()

    @on(EntryLine.Entered)
    def _entered(self, event: EntryLine.Entered) -> None:
        chosen = self.table.chosen
        self.table.rows.focus()
        if event.what in ("name", "note") and chosen is not None:
            self._keep(chosen, event.what, event.text)
        elif event.what == "write to" and event.text.strip():
            chart = self.charts.chart
            self._write(event.text.strip(), chart.figure, chart.plotted, self.look)

    @work(thread=True, group="label", exit_on_error=False)
    def _keep(self, job: JobKey, what: str, text: str) -> None:
        workspace = self.cockpit.workspace
        label = label_of(workspace, job)
        try:
            kept = keep_label(workspace, job, Label(text, label.note) if what == "name" else Label(label.name, text))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
            return
        self.post_message(CommandRan(command_lines.label(what, job.job, kept.name if what == "name" else kept.note)))
        self.post_message(RunsRead({job: replace(self.known.get(job, NOTHING_KNOWN), label=kept)}))
        if self._reading is not None:
            self._reading.look_again()

    def action_leave(self) -> None:
        """Leave the entry, then the cursor of the chart, then the filter, then the screen."""
        if self.table.entry.asks_for:
            if self.table.entry.asks_for == "filter":
                self.table.wanted = ""
            self.table.entry.close()
            self.table.rows.focus()
            self.redraw()
        elif self.maximized is not None:
            self.minimize()
        elif self.look.cursor is not None:
            self.charts.drop_cursor()
            self._show_below()
        elif self.table.wanted:
            self.table.wanted = ""
            self.redraw()
        else:
            self.call_later(self.app.run_action, "back")

    def action_write(self) -> None:
        """Ask where the chart is written to: SVG, PNG or CSV by the name's end."""
        chart = self.charts.chart
        if not chart.plotted:
            self.notify("there is no line to write", timeout=3)
            return
        self.table.entry.ask(
            "write to",
            f"outputs/charts/{chart.figure}-{'-'.join(one.name.split()[-1] for one in chart.plotted[:4])}.svg",
        )

    @work(thread=True, group="write", exit_on_error=False)
    def _write(self, place: str, figure: str, lines: Sequence[Plotted], look: Look) -> None:
        from t2v_tui.widgets.curve.chart_file import Curve, write_chart  # only then

        path = self.cockpit.workspace.resolve(Path(place))
        curves = [Curve(one.name, trace_of(one.line, one.xs, look.zoomed, DOTS, look.decay)) for one in lines]
        try:
            write_chart(path, figure, look.axis, curves, is_log=look.is_log)
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
            return
        self.post_message(Notice(f"the chart is in {place}"))
