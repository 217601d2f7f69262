"""All trainings beside each other: a table to mark them in, their curves, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from t2v_core.errors import EngineError
from t2v_tui.keys import bindings_for
from t2v_tui.library.runs.labels import Label, keep_label, label_of
from t2v_tui.library.runs.settings import differing
from t2v_tui.library.runs.traces import SMOOTHINGS, Axis, trace_of, xs_of
from t2v_tui.messages import Failed, GoTo, Notice, ShowJob
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.runs import SORTS, RunRow, fits, in_order
from t2v_tui.store.state import JobKey, State
from t2v_tui.text.run_comparison import NAME_CELLS, Row, clipped, columns_in, comparison
from t2v_tui.text.run_table import COLUMNS, cell, clipped_end, columns_for
from t2v_tui.text.unreachable import instead_of_empty
from t2v_tui.widgets.chrome import Block, Line
from t2v_tui.widgets.curve.chart import COLOURS, Chart, Look, Plotted, said
from t2v_tui.widgets.curve.ticks import short_number
from t2v_tui.widgets.entries import PromptInput
from t2v_tui.widgets.lists import stand_back
from t2v_tui.widgets.pane import Pane
from t2v_tui.widgets.rows import Cell, Rows
from t2v_tui.workers.run_reading import KnownRun, RunsReading

MOST_MARKED = 20
MARK_CELLS = 4
LETTERS = "abcdefghijklmnopqrst"
# The order of figures until somebody turns to another one; those that events hold beside them come after these.
FIRST_FIGURES = ("loss", "held_out_loss", "learning_rate", "grad_norm", "samples_per_s", "data_wait")
# Of a chart as a file: more than any screen has.
DOTS = 4000
CHARTS = (1, 2, 4)
VIEWS = ("both", "chart", "comparison")
STATES = {"running": "accent", "starting": "accent", "succeeded": "success", "failed": "error", "lost": "error",
          "preempted": "warning"}  # fmt: skip
AXES = {Axis.STEP: "steps", Axis.EPOCH: "epochs", Axis.HOURS: "hours", Axis.DOLLARS: "dollars"}
EMPTY = """No training yet, on any host.

t   starts one; each is a row here, with its curve, its settings and what it cost.
    space marks rows: their curves lie over each other, with the settings that differ."""


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
        self.sort, self.is_reversed, self.by_data, self.wanted = "newest", False, False, ""
        self.figures = list(FIRST_FIGURES)
        self.charts, self.view = 0, "both"
        self.look = Look()
        self.first_column = 0
        self._entry_for = ""
        self._columns: list[tuple[str, int]] = []
        self._height, self._comparison_width = 0, -1
        self._titles: tuple[str, str] = ("", "")
        self._reading: RunsReading | None = None
        self._xs: dict[tuple[JobKey, str, Axis], tuple[object, object]] = {}

    def body(self) -> ComposeResult:
        """Lay out the table over charts and comparison."""
        with Pane(id="runs-pane"):
            yield Line(id="heads")
            yield Rows(id="rows")
            yield Block(id="no-runs", classes="empty")
            with Horizontal(id="entry-line"):
                yield Static(id="entry-title", markup=False)
                yield PromptInput(id="entry")
        with Horizontal(id="below"):
            with Pane(id="charts-pane"), Horizontal(id="charts"):
                yield Chart(id="chart-0")
            yield Block(id="comparison", classes="pane")

    def on_mount(self) -> None:
        """Begin to read, and put the focus on the table."""
        self._reading = RunsReading(self.cockpit.workspace, self.cockpit.services, self._tell_runs)
        self._reading.start()
        self.query_one(Rows).focus()

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
        self.rows = {key: self.known.get(key, KnownRun()).row(key, job.row, now_t) for key, job in jobs.items()}
        self.marked = [key for key in self.marked if key in self.rows]
        self._show_table(state, now_t)
        self._show_below()

    def _show_table(self, state: State, now_t: float) -> None:
        table, pane = self.query_one(Rows), self.query_one("#runs-pane", Pane)
        fitting = [row for row in self.rows.values() if fits(row, self.wanted)]
        rows = in_order(fitting, self.sort, is_reversed=self.is_reversed, by_data=self.by_data)
        self._want([row.key for row in rows])
        self._columns = columns_for(self.size.width - 4 - MARK_CELLS, self.sort)
        self.query_one("#heads", Line).display = bool(rows)
        self._set_height(pane, 0 if not self.rows else max(6, min(len(rows) + 3, (self.size.height - 3) * 2 // 5)))
        self.query_one("#heads", Line).show(self._heads())
        table.show_rows({_row_key(row.key): self._cells(row) for row in rows})
        stand_back(table, is_hidden=not rows)
        nothing = self.query_one("#no-runs", Block)
        nothing.display = not rows
        none_fits = f"No run has “{self.wanted}”.\n\nesc   shows all {len(self.rows)} again"
        silence = instead_of_empty(list(state.hosts.values()), "its runs", now_t)
        nothing.show(Content(none_fits if self.rows else silence or EMPTY))
        count = f"{len(rows)} of {len(self.rows)}" if self.wanted else str(len(rows))
        parts = [f"runs {count}", f"{len(self.marked)} marked" if self.marked else "", f"by {self.sort}" + (
            ", reversed" if self.is_reversed else ""), "grouped by data" if self.by_data else "",
            f"with “{self.wanted}”" if self.wanted else ""]  # fmt: skip
        pane.entitle(" · ".join(filter(None, parts)))

    def _want(self, shown: Sequence[JobKey]) -> None:
        if self._reading is not None:
            chosen = self._chosen()
            first = [*self.marked, *([chosen] if chosen else [])]
            self._reading.want(list(dict.fromkeys([*first, *shown])))
            self._reading.fetch(first)

    def _set_height(self, pane: Pane, rows: int) -> None:
        if rows != self._height:
            self._height = rows
            pane.styles.height = rows or "1fr"

    def _heads(self) -> Content:
        heads = [(f"{name:>{cells}}" if COLUMNS[name][1] else f"{name:<{cells}}") for name, cells in self._columns]
        return Content.assemble((" " * MARK_CELLS + "  ".join(heads), "$text-muted"))

    def _cells(self, row: RunRow) -> tuple[Cell, ...]:
        mark = Cell(" " * MARK_CELLS)
        if row.key in self.marked:
            number = self.marked.index(row.key)
            mark = Cell(f" {LETTERS[number]}  ", f"bold {COLOURS[number % len(COLOURS)]}")
        cells = [mark]
        for name, width in self._columns:
            text = clipped_end(cell(row, name), width)
            colour = self.app.theme_variables.get(STATES.get(row.state, ""), "") if name == "state" else ""
            cells.append(Cell((f"{text:>{width}}" if COLUMNS[name][1] else f"{text:<{width}}") + "  ", colour))
        return tuple(cells)

    def compared(self) -> list[JobKey]:
        """Return the marked runs, else the one with the cursor."""
        chosen = self._chosen()
        return self.marked or ([chosen] if chosen is not None else [])

    def _show_below(self) -> None:
        keys, below = self.compared(), self.query_one("#below", Horizontal)
        below.display = bool(self.rows)
        is_narrow = self.size.width < 110
        view = "chart" if self.view == "both" and is_narrow else self.view
        charts, block = self.query_one("#charts-pane", Pane), self.query_one("#comparison", Block)
        charts.display, block.display = view != "comparison", view != "chart"
        width = 0 if view == "comparison" else 76 if self.size.width >= 180 else 60
        if width != self._comparison_width:  # to set it lays the whole screen out anew
            self._comparison_width = width
            block.styles.width = width or "1fr"
        if charts.display:
            self._show_charts(keys)
        if block.display:
            self._show_comparison(keys, block)

    def _show_charts(self, keys: Sequence[JobKey]) -> None:
        grid, pane = self.query_one("#charts", Horizontal), self.query_one("#charts-pane", Pane)
        shown = list(self.query(Chart))
        count = self._charts_now()
        if len(shown) != count:
            self._lay_out(grid, shown, count)
            return
        figures = {figure: self._plotted(keys, figure) for figure in self._figures_now(count)}
        ends = [(one.xs[0], one.xs[-1]) for lines in figures.values() for one in lines if len(one.xs)]
        reach = (min(first for first, _ in ends), max(last for _, last in ends)) if ends else None
        look = self.look = replace(self.look, reach=reach)
        for chart, figure in zip(shown, self._figures_now(count), strict=True):
            chart.show(figure, figures[figure], look, self._why_nothing(keys, figure))
        smooth = f"averaged over {round(1 / (1 - look.decay))} points" if look.decay else "each point"
        pane.entitle(
            f"over {AXES[look.axis]} · {smooth}{' · logarithmic' if look.is_log else ''}"
            f"{' · zoomed' if look.zoomed else ''}"
        )

    @work(exclusive=True, group="lay-out")
    async def _lay_out(self, grid: Horizontal, shown: list[Chart], count: int) -> None:
        if len(shown) > count:
            await grid.remove_children(shown[count:])
        else:
            await grid.mount(*(Chart(id=f"chart-{number}") for number in range(len(shown), count)))
        grid.styles.grid_size_columns = 1 if count == 1 else 2
        grid.styles.grid_size_rows = max(1, count // 2)
        self._show_charts(self.compared())

    def _charts_now(self) -> int:
        if self.charts:
            return self.charts
        return 4 if self.size.width >= 180 and self.size.height >= 50 else 1

    def _figures_now(self, count: int) -> list[str]:
        held = {name: None for key in self.rows for name in self.known.get(key, KnownRun()).measured.lines}
        self.figures += [name for name in held if name not in self.figures]
        there = [name for name in self.figures if name in held] or self.figures
        return list(islice(cycle(there), count))

    def _plotted(self, keys: Sequence[JobKey], figure: str) -> list[Plotted]:
        found = []
        for number, key in enumerate(keys):
            run = self.known.get(key)
            line = run.measured.lines.get(figure) if run is not None else None
            if run is None or line is None:
                continue
            place = (key, figure, self.look.axis)
            if place not in self._xs or self._xs[place][0] is not line:
                self._xs[place] = (line, xs_of(line, run.measured, self.look.axis, run.sessions))
            xs = self._xs[place][1]
            if isinstance(xs, Sequence):
                letter = LETTERS[number] if self.marked else ""
                found.append(Plotted(letter, number, self.rows[key].title, line, xs))
        return found

    def _why_nothing(self, keys: Sequence[JobKey], figure: str) -> str:
        """What stands in the place of a chart that has no line."""
        runs = [self.known.get(key, KnownRun()).measured for key in keys]
        if not keys:
            return "no run is chosen"
        if not any(figure in run.lines for run in runs):
            has_any = any(run.lines for run in runs)
            return (
                f"no {said(figure)} is in the events of what is chosen"
                if has_any
                else "nothing is here of its events yet"
            )
        if self.look.axis is Axis.DOLLARS:
            return (
                "nobody is paid for the machine of what is chosen, or its price is not known\nx turns to another axis"
            )
        return "no epoch has ended in what is chosen\nx turns to another axis"

    def _show_comparison(self, keys: Sequence[JobKey], block: Block) -> None:
        runs = [self.rows[key] for key in keys]
        if not runs:
            block.show(Content(""))
            return
        settings = [self.known.get(key, KnownRun()).settings for key in keys]
        cells = block.size.width or 48
        fit, width = columns_in(cells, len(runs))
        self.first_column = max(0, min(self.first_column, len(runs) - fit))
        sight = slice(self.first_column, self.first_column + fit)
        rows = comparison(runs, differing(settings) if all(settings) else [], self._at_cursor(keys))
        title = f"{len(runs)} runs" if len(runs) > 1 else "this run"
        hidden = len(runs) - fit
        subtitle = (
            f"{self.first_column + 1}–{self.first_column + fit} of {len(runs)}: [ and ] show the others"
            if hidden
            else ""
        )
        if (title, subtitle) != self._titles:
            self._titles = (title, subtitle)
            block.border_title, block.border_subtitle = Content(title), Content(subtitle)
        letters = [(LETTERS[at], COLOURS[at % len(COLOURS)]) for at in range(len(runs))] if self.marked else []
        block.show(_comparison_content(rows, sight, width, letters))

    def _at_cursor(self, keys: Sequence[JobKey]) -> tuple[str, list[float | None]] | None:
        if self.look.cursor is None:
            return None
        chart = self._focused_chart()
        values = dict(zip((one.ink for one in chart.plotted), chart.values(), strict=True))
        name = f"{said(chart.figure)} @ {short_number(self.look.cursor)}"
        return clipped(name, NAME_CELLS), [values.get(number) for number in range(len(keys))]

    # What is chosen

    def _chosen(self) -> JobKey | None:
        row = self.query_one(Rows).chosen
        key = None if row is None else _key_of(row)
        return key if key in self.rows else None

    @on(Rows.Highlighted)
    def _highlighted(self) -> None:
        if self._is_made and not self.marked:
            self._show_below()
        if self._is_made and self._reading is not None and (chosen := self._chosen()) is not None:
            self._reading.fetch([chosen])

    @on(Rows.Selected)
    def _open(self) -> None:
        if (chosen := self._chosen()) is not None:
            self.post_message(ShowJob(chosen))
            self.post_message(GoTo("train"))

    def action_mark(self) -> None:
        """Mark the run with the cursor, or unmark it."""
        chosen = self._chosen()
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
        names = list(SORTS)
        self.sort, self.is_reversed = names[(names.index(self.sort) + 1) % len(names)], False
        self.redraw()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.is_reversed = not self.is_reversed
        self.redraw()

    def action_group(self) -> None:
        """Put runs of one data set together, or not."""
        self.by_data = not self.by_data
        self.redraw()

    # The charts

    def _turn(self, look: Look) -> None:
        self.look = look
        self._show_below()

    def action_turn_axis(self) -> None:
        """Turn to the next axis; a zoom and a cursor are of the old one."""
        axes = list(Axis)
        following = axes[(axes.index(self.look.axis) + 1) % len(axes)]
        self._turn(replace(self.look, axis=following, zoomed=None, cursor=None))

    def action_turn_smoothing(self) -> None:
        """Average over more points; after the most, show each."""
        at = SMOOTHINGS.index(self.look.decay)
        self._turn(replace(self.look, decay=SMOOTHINGS[(at + 1) % len(SMOOTHINGS)]))

    def action_turn_figure(self, by: int) -> None:
        """Turn to the next figure, or the one before."""
        there = self._figures_now(len(self.figures))[: len(self.figures)]
        there = list(dict.fromkeys(there))
        turned = there[by % len(there) :] + there[: by % len(there)]
        self.figures = turned + [name for name in self.figures if name not in turned]
        self._show_below()

    def action_change_scale(self) -> None:
        """Switch between the logarithmic and the linear scale."""
        self._turn(replace(self.look, is_log=not self.look.is_log))

    def action_turn_charts(self) -> None:
        """Show one chart, two or four."""
        now = self._charts_now()
        self.charts = CHARTS[(CHARTS.index(now) + 1) % len(CHARTS)]
        self._show_below()

    def action_turn_view(self) -> None:
        """Show chart and comparison, or one of them."""
        views = VIEWS[1:] if self.size.width < 110 else VIEWS
        now = self.view if self.view in views else "chart"
        self.view = views[(views.index(now) + 1) % len(views)]
        self._show_below()

    def action_zoom(self, factor: float) -> None:
        """Look closer around the cursor, else around the end; or from further away."""
        first, last = self._span()
        x0, x1 = self.look.zoomed or (first, last)
        at = self.look.cursor
        anchor = at if at is not None and x0 <= at <= x1 else x1
        left, right = anchor - (anchor - x0) * factor, anchor + (x1 - anchor) * factor
        if right - left < (last - first) / 2000:
            return
        is_whole = left <= first and right >= last
        self._turn(replace(self.look, zoomed=None if is_whole else (max(first, left), min(last, right))))

    def action_whole(self) -> None:
        """Show the whole of all runs."""
        self._turn(replace(self.look, zoomed=None))

    def action_cursor(self, by: int) -> None:
        """Move the cursor by so many dots; at the edge of a zoom, what is looked at moves with it."""
        first, last = self._span()
        x0, x1 = self.look.zoomed or (first, last)
        step = self.query(Chart).first().dot * (
            1 if abs(by) == 1 else (x1 - x0) / 100 / max(1e-300, self.query(Chart).first().dot)
        )
        at = self.look.cursor if self.look.cursor is not None else (x1 if by < 0 else x0)
        at = max(first, min(last, at + by * step))
        if self.look.zoomed is not None and not x0 <= at <= x1:
            over = at - x1 if at > x1 else at - x0
            x0, x1 = x0 + over, x1 + over
        self._turn(replace(self.look, cursor=at, zoomed=None if self.look.zoomed is None else (x0, x1)))

    @on(Chart.Pointed)
    def _point(self, message: Chart.Pointed) -> None:
        self._turn(replace(self.look, cursor=message.x))

    def _span(self) -> tuple[float, float]:
        spans = [chart.span for chart in self.query(Chart) if chart.plotted]
        return min((one[0] for one in spans), default=0.0), max((one[1] for one in spans), default=1.0)

    def action_shift(self, by: int) -> None:
        """Show runs of the comparison that were out of sight."""
        self.first_column += by
        self._show_below()

    def action_zoom_pane(self) -> None:
        """Give the pane with the focus the whole screen, or shrink it again."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            pane = self.query_one("#runs-pane") if isinstance(self.focused, Rows) else self.focused
            self.maximize(pane)

    # Filter, name, note

    def action_filter(self) -> None:
        """Ask for the words that runs must have."""
        self._ask("filter", self.wanted)

    def action_name(self) -> None:
        """Ask for the name of the run with the cursor."""
        self._ask_about("name")

    def action_note(self) -> None:
        """Ask for a note on the run with the cursor."""
        self._ask_about("note")

    def _ask_about(self, what: str) -> None:
        if (chosen := self._chosen()) is None:
            self.notify(f"there is no run to give a {what}; t starts one", timeout=3)
        else:
            row = self.rows[chosen]
            self._ask(what, row.name if what == "name" else row.note)

    def _ask(self, what: str, value: str) -> None:
        self._entry_for = what
        self.query_one("#entry-title", Static).update(Content(f"{what}: "))
        self.query_one("#entry-line").add_class("-open")
        entry = self.query_one("#entry", PromptInput)
        entry.value = value
        entry.cursor_position = len(value)
        entry.focus()

    @on(Input.Changed, "#entry")
    def _filter_as_typed(self, event: Input.Changed) -> None:
        if self._entry_for == "filter" and self.wanted != event.value:
            self.wanted = event.value
            self.redraw()

    @on(Input.Submitted, "#entry")
    def _entered(self, event: Input.Submitted) -> None:
        what, chosen = self._entry_for, self._chosen()
        self._close_entry()
        if what in ("name", "note") and chosen is not None:
            self._keep(chosen, what, event.value)
        elif what == "write to" and event.value.strip():
            chart = self._focused_chart()
            self._write(event.value.strip(), chart.figure, chart.plotted, self.look)

    def _close_entry(self) -> None:
        self._entry_for = ""
        self.query_one("#entry-line").remove_class("-open")
        self.query_one(Rows).focus()

    @work(thread=True, group="label", exit_on_error=False)
    def _keep(self, job: JobKey, what: str, text: str) -> None:
        workspace = self.cockpit.workspace
        label = label_of(workspace, job)
        try:
            kept = keep_label(workspace, job, Label(text, label.note) if what == "name" else Label(label.name, text))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
            return
        self.post_message(RunsRead({job: replace(self.known.get(job, KnownRun()), label=kept)}))
        if self._reading is not None:
            self._reading.look_again()

    def action_leave(self) -> None:
        """Leave the entry, then the cursor of the chart, then the filter, then the screen."""
        if self._entry_for:
            if self._entry_for == "filter":
                self.wanted = ""
            self._close_entry()
            self.redraw()
        elif self.maximized is not None:
            self.minimize()
        elif self.look.cursor is not None:
            self._turn(replace(self.look, cursor=None))
        elif self.wanted:
            self.wanted = ""
            self.redraw()
        else:
            self.call_later(self.app.run_action, "back")

    def action_write(self) -> None:
        """Ask where the chart is written to: SVG, PNG or CSV by the name's end."""
        chart = self._focused_chart()
        if not chart.plotted:
            self.notify("there is no line to write", timeout=3)
            return
        self._ask(
            "write to",
            f"outputs/charts/{chart.figure}-{'-'.join(one.name.split()[-1] for one in chart.plotted[:4])}.svg",
        )

    def _focused_chart(self) -> Chart:
        charts = list(self.query(Chart))
        return next((one for one in charts if one.has_focus), charts[0])

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


def _row_key(key: JobKey) -> str:
    return f"{key.host}\t{key.job}"


def _key_of(row: str) -> JobKey:
    host, _, job = row.partition("\t")
    return JobKey(host, job)


def _comparison_content(rows: Sequence[Row], sight: slice, width: int, letters: Sequence[tuple[str, str]]) -> Content:
    """The lines as they are drawn: names muted, each run's column below its letter."""
    lines: list[Content] = []
    if letters:
        heads = [(f" {letter:<{width}}", f"bold {colour}") for letter, colour in letters[sight]]
        lines.append(Content.assemble(" " * NAME_CELLS, *heads))
    for row in rows:
        if row.is_head:
            lines.append(Content.assemble((f"{row.name}", "$text-muted")))
            continue
        cells = [f" {clipped(one, width):<{width}}" for one in row.cells[sight]]
        lines.append(Content.assemble((f"{clipped(row.name, NAME_CELLS):<{NAME_CELLS}}", "$text-muted"), *cells))
    return Content("\n").join(lines)
