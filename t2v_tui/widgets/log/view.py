"""A log with keys around it: follow, find, filter, mark, copy. It reads one file, whether its host is there or not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from t2v_core.errors import EngineError
from t2v_core.format import grouped
from t2v_tui.keys import bindings_for
from t2v_tui.widgets.clipboard import copy_text
from t2v_tui.widgets.log.drawing import COPY_LINES
from t2v_tui.widgets.log.index import Fate
from t2v_tui.widgets.log.lines import LogLines
from t2v_tui.widgets.log.scans import Found, SearchEnded

# While somebody types, the filter waits for a pause.
TYPING_S = 0.15
DESCRIBE_INTERVAL_S = 0.25
FATES = {
    Fate.REPLACED: "the file was replaced; this is the new one",
    Fate.TRUNCATED: "the file was truncated; shown from its beginning",
}


class LogView(Vertical):
    """Shows `path`, from its end.

    title:  what the log is of, as `train · 20261122-181501-train-3f2a`
    copies: file that copied lines are written to as well
    """

    DEFAULT_CSS = """
    LogView { border: round $foreground 20%; border-title-color: $text-muted; border-subtitle-color: $text-muted; }
    LogView:focus-within { border: round $accent; border-title-color: $foreground; }
    LogView > .log--empty { width: 1fr; height: 1fr; content-align: center middle; color: $text-muted; display: none; }
    LogView.-empty > .log--empty { display: block; }
    LogView.-empty > LogLines { display: none; }
    LogView > Input { dock: bottom; height: 1; border: none; padding: 0 1; display: none; }
    LogView > Input.-open { display: block; }
    LogView .log--error { color: $text-error; }
    LogView .log--warning { color: $text-warning; }
    LogView .log--debug { color: $text-muted; }
    LogView .log--found { background: $warning; color: $background; text-style: bold; }
    LogView .log--current { background: $accent 25%; }
    LogView .log--marked { background: $accent 45%; }
    """
    PANE = "log-pane"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("log-pane")]

    def __init__(
        self,
        path: Path | None = None,
        *,
        title: str = "log",
        copies: Path | None = None,
        empty: str = "Nothing was written yet. Lines appear here as they come.",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.name_of_log, self.copies, self.empty = title, copies, empty
        self._path = path
        self._typing: Timer | None = None
        self._describing: Timer | None = None
        self._described_at = 0.0
        self._titles = ("", "")
        self._entered = ""
        self._said = ""

    def compose(self) -> ComposeResult:
        """Lay out the lines, the words for when there are none, and the entry."""
        yield LogLines(self._path)
        yield Static(self.empty, classes="log--empty", markup=False)
        yield Input(compact=True, select_on_focus=True)

    def on_mount(self) -> None:
        """Write the titles into the border."""
        self._describe()

    @property
    def lines(self) -> LogLines:
        """Return the widget that shows the lines."""
        return self.query_one(LogLines)

    @property
    def entry(self) -> Input:
        """Return the entry, which find and filter share."""
        return self.query_one(Input)

    def show(self, path: Path | None, title: str | None = None) -> None:
        """Look at another log, from its end."""
        self._path, self.name_of_log = path, title or self.name_of_log
        self._said = ""
        self.lines.show(path)
        self._describe()

    def say_when_empty(self, sentence: str) -> None:
        """Set what stands there as long as there is no line."""
        if sentence != self.empty:
            self.empty = sentence
            self.query_one(".log--empty", Static).update(sentence)

    # What the border says

    def on_log_lines_changed(self) -> None:
        """Renew the border soon. It is drawn anew as a whole: four times a second are enough for its numbers."""
        if self._describing is None:
            wait = self._described_at + DESCRIBE_INTERVAL_S - time.monotonic()
            if wait <= 0:
                self._describe()
            else:
                self._describing = self.set_timer(wait, self._describe)

    def on_log_lines_restarted(self, message: LogLines.Restarted) -> None:
        """Say in the border what became of the file."""
        self._said = FATES[message.fate]
        self._describe()

    def _describe(self) -> None:
        if self._describing is not None:
            self._describing.stop()
            self._describing = None
        self._described_at = time.monotonic()
        lines = self.lines
        self.set_class(lines.rows == 0 and lines.line_filter is None, "-empty")
        # As they are: what was looked for may hold brackets, which are no markup.
        titles = (
            f"{self.name_of_log} · {self._how()}{' · wrapped' if lines.wraps else ''}",
            f"{self._said}  {self._where()}" if self._said else self._where(),
        )
        if titles != self._titles:
            self._titles = titles
            self.border_title, self.border_subtitle = map(Content, titles)

    def _how(self) -> str:
        lines = self.lines
        if lines.marked is not None:
            return f"{grouped(abs(lines.marked[1] - lines.marked[0]) + 1)} marked · Y copies · esc cancels"
        if lines.is_following:
            return "following"
        return f"+{grouped(lines.unseen)} new · G follows" if lines.unseen else "paused · G follows"

    def _where(self) -> str:
        lines = self.lines
        if lines.index is None:
            return ""
        total = grouped(lines.index.count) if lines.index.is_counted else "counting"
        if lines.line_filter is not None:
            return f"{grouped(lines.rows)} of {total} lines have “{lines.line_filter.needle.text}”"
        if not lines.index.is_counted:
            return total
        return f"line {grouped(min(lines.rows, lines.rows_in_sight()[1] + 1)):>{len(total)}} / {total}"

    # Moving

    def action_follow(self) -> None:
        """Go to the end and stay there; while lines are marked, move the mark's end there."""
        if self.lines.marked is not None:
            self._move_mark(self.lines.rows)
        else:
            self._said = ""
            self.lines.follow()

    def action_go_top(self) -> None:
        """Move to the first line."""
        self.action_move(-self.lines.rows)

    def action_move(self, rows: int) -> None:
        """Move by so many rows; while lines are marked, move the mark's end."""
        if self.lines.marked is not None:
            self._move_mark(rows)
        else:
            self.lines.move(rows)

    def action_page(self, pages: float) -> None:
        """Move by so many pages, or parts of one; a row of the last page stays in sight."""
        first, last = self.lines.rows_in_sight()
        page = max(1, last - first if self.lines.wraps else self.lines.size.height - 1)
        self.action_move(int(pages * page) or (1 if pages > 0 else -1))

    def action_sideways(self, parts: int) -> None:
        """Move so many quarters of the width to the right, or to the left when negative."""
        if self.lines.wraps:
            self.notify("long lines are wrapped: w leaves them whole", timeout=3)
        else:
            x = self.lines.scroll_offset.x + parts * max(1, self.lines.size.width // 4)
            self.lines.scroll_to(x=max(0, min(self.lines.max_scroll_x, x)), animate=False)

    def action_wrap(self) -> None:
        """Wrap long lines, or leave them whole."""
        self.lines.wrap(wraps=not self.lines.wraps)
        self._describe()

    # Finding and filtering

    def action_open_find(self) -> None:
        """Open the entry for text to find."""
        self._open_entry("find", "find, esc cancels", self.lines.needle.text if self.lines.needle else "")

    def action_open_filter(self) -> None:
        """Open the entry for text to filter by."""
        shown = self.lines.line_filter
        self._open_entry("filter", "only lines with …, esc shows all", shown.needle.text if shown else "")

    def _open_entry(self, purpose: str, hint: str, text: str) -> None:
        self._entered = purpose
        self.entry.placeholder = hint
        with self.prevent(Input.Changed):
            self.entry.value = text
        self.entry.add_class("-open")
        self.entry.focus()

    def _close_entry(self) -> None:
        self.entry.remove_class("-open")
        self.lines.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter by what is typed, after a pause."""
        message.stop()
        if self._entered == "filter":
            if self._typing is not None:
                self._typing.stop()
            self._typing = self.set_timer(TYPING_S, lambda: self.lines.filter(message.value))

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Close the entry, and find its text if it was opened for that."""
        message.stop()
        self._close_entry()
        if self._entered == "find":
            self.lines.current = None
            self.lines.find(message.value, backward=self.lines.is_following)

    def action_find_next(self) -> None:
        """Find the next line that contains it."""
        self._find(backward=False)

    def action_find_previous(self) -> None:
        """Find the line before that has it."""
        self._find(backward=True)

    def _find(self, *, backward: bool) -> None:
        if self.lines.needle is not None:
            self.lines.find(self.lines.needle.text, backward=backward)
        else:
            self.notify("nothing to look for yet: / finds text", timeout=3)

    def on_search_ended(self, message: SearchEnded) -> None:
        """Show the hit, or say that there is none."""
        if message.index is not self.lines.index:
            return
        needle = self.lines.needle
        if message.offset is None:
            self._said = f"“{needle.text}” is not in this log" if needle else ""
        else:
            self._said = "wrapped round the end" if message.found is Found.WRAPPED else ""
            self.lines.show_hit(message.offset)
        self._describe()

    def action_leave(self) -> None:
        """Leave one thing after the other: the entry, marked lines, what was found, the filter."""
        lines = self.lines
        if self.entry.has_class("-open"):
            if self._entered == "filter":
                lines.filter("")
            self._close_entry()
        elif lines.marked is not None:
            lines.mark(None)
        elif lines.needle is not None:
            lines.forget_hits()
        elif lines.line_filter is not None:
            lines.filter("")
        else:
            self.screen.focus_previous()
        self._said = ""
        self._describe()

    # Marking and copying

    def action_mark(self) -> None:
        """Begin a range at the last line in sight; the keys that move then move its other end."""
        if self._has_lines("mark"):
            last = self.lines.rows_in_sight()[1]
            self.lines.mark((last, last))
            self._describe()

    def _has_lines(self, what: str) -> bool:
        """Or a word that there are none."""
        if not self.lines.rows:
            self.notify(f"there is no line to {what}", timeout=3)
        return bool(self.lines.rows)

    def _move_mark(self, rows: int) -> None:
        assert self.lines.marked is not None
        begin, end = self.lines.marked
        self.lines.mark((begin, max(0, min(self.lines.rows - 1, end + rows))))
        self._describe()

    def action_copy(self) -> None:
        """Copy the marked lines, or those in sight."""
        lines = self.lines
        if not self._has_lines("copy"):
            return
        begin, end = sorted(lines.marked or lines.rows_in_sight())
        end = min(end, begin + COPY_LINES - 1)
        text = "\n".join(lines.text_of(row) for row in range(begin, end + 1))
        try:
            said = copy_text(self.app, text, self.copies or Path.home() / "t2v-copied.txt")
        except EngineError as error:
            self.notify(error.hint, title=error.message, severity="error", markup=False)
            return
        lines.mark(None)
        self.notify(said, markup=False)
        self._describe()
