"""The table of runs: in what order, which of them have the words of the filter, and by which letter each is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.app import ComposeResult
from textual.content import Content

from t2v_tui.store.runs import SORTS, RunRow, fits, in_order
from t2v_tui.store.state import JobKey
from t2v_tui.text.runs.run_table import COLUMNS, cell, clipped_end, columns_for
from t2v_tui.widgets.chrome import Block, Line
from t2v_tui.widgets.curve.chart import colour_of
from t2v_tui.widgets.entry_line import EntryLine
from t2v_tui.widgets.lists import stand_back
from t2v_tui.widgets.pane import Pane
from t2v_tui.widgets.rows import Cell, Rows

LETTERS = "abcdefghijklmnopqrst"
MARK_CELLS = 4
STATES = {"running": "accent", "starting": "accent", "succeeded": "success", "failed": "error", "lost": "error",
          "preempted": "warning"}  # fmt: skip


class RunTable(Pane):
    """sort: a name of SORTS; by_data: runs of one data set stand together; wanted: words that a run must have"""

    def __init__(self) -> None:
        super().__init__(id="runs-pane")
        self.sort, self.is_reversed, self.by_data, self.wanted = "newest", False, False, ""
        self._columns: list[tuple[str, int]] = []
        self._height = -1  # of the style sheet
        self._keys: list[JobKey] = []

    def compose(self) -> ComposeResult:
        """Lay out the titles over the rows, and what asks for a filter, a name, a note or a file below them."""
        yield Line(id="heads")
        yield Rows(id="rows")
        yield Block(id="no-runs", classes="empty")
        yield EntryLine(id="entry-line")

    @property
    def rows(self) -> Rows:
        """Return the rows, which hold the cursor."""
        return self.query_one(Rows)

    @property
    def entry(self) -> EntryLine:
        """Return the line that asks for a filter, a name, a note or a file."""
        return self.query_one(EntryLine)

    @property
    def chosen(self) -> JobKey | None:
        """Return the run with the cursor; None while there is none."""
        return next((key for key in self._keys if _row_key(key) == self.rows.chosen), None)

    def turn_sort(self) -> None:
        """Sort by the next column from now on."""
        names = list(SORTS)
        self.sort, self.is_reversed = names[(names.index(self.sort) + 1) % len(names)], False

    def show_runs(self, runs: Mapping[JobKey, RunRow], marked: Sequence[JobKey], nothing: str) -> list[JobKey]:
        """Show those that have the words of the filter, and return them in the order in which they stand.

        nothing: what stands there without any run
        """
        fitting = [row for row in runs.values() if fits(row, self.wanted)]
        rows = in_order(fitting, self.sort, is_reversed=self.is_reversed, by_data=self.by_data)
        self._keys = [row.key for row in rows]
        self._columns = columns_for(self.screen.size.width - 4 - MARK_CELLS, self.sort)
        most = (self.screen.size.height - 3) * 2 // 5
        self._set_height(0 if not runs else max(6, min(len(rows) + 3, most)))
        heads = self.query_one("#heads", Line)
        heads.display = bool(rows)
        heads.show(self._heads())
        self.rows.show_rows({_row_key(row.key): self._cells(row, marked) for row in rows})
        stand_back(self.rows, is_hidden=not rows)
        block = self.query_one("#no-runs", Block)
        block.display = not rows
        none_fits = f"No run has “{self.wanted}”.\n\nesc   shows all {len(runs)} again"
        block.show(Content(none_fits if runs else nothing))
        self.entitle(self._in_words(len(rows), len(runs), len(marked)))
        return self._keys

    def _in_words(self, shown: int, count: int, marked: int) -> str:
        """`runs · 3 of 40 · 2 marked · by loss, reversed · with “dog”`."""
        parts = [
            "runs", f"{shown} of {count}" if self.wanted else f"{shown}" if count else "",
            f"{marked} marked" if marked else "",
            f"by {self.sort}{', reversed' if self.is_reversed else ''}" if count else "",
            "grouped by data" if self.by_data else "",
            f"with “{self.wanted}”" if self.wanted else "",
        ]  # fmt: skip
        return " · ".join(filter(None, parts))

    def _set_height(self, rows: int) -> None:
        if rows != self._height:
            self._height = rows
            self.styles.height = rows or "1fr"

    def _heads(self) -> Content:
        heads = [(f"{name:>{cells}}" if COLUMNS[name][1] else f"{name:<{cells}}") for name, cells in self._columns]
        return Content.assemble((" " * MARK_CELLS + "  ".join(heads), "$text-muted"))

    def _cells(self, row: RunRow, marked: Sequence[JobKey]) -> tuple[Cell, ...]:
        mark = Cell(" " * MARK_CELLS)
        if row.key in marked:
            number = marked.index(row.key)
            mark = Cell(f" {LETTERS[number]}  ", f"bold {colour_of(number, is_dark=self.app.current_theme.dark)}")
        cells = [mark]
        for name, width in self._columns:
            text = clipped_end(cell(row, name), width)
            colour = self.app.theme_variables.get(STATES.get(row.state, ""), "") if name == "state" else ""
            cells.append(Cell((f"{text:>{width}}" if COLUMNS[name][1] else f"{text:<{width}}") + "  ", colour))
        return tuple(cells)


def _row_key(key: JobKey) -> str:
    return f"{key.host}\t{key.job}"
