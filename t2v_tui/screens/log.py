"""The log of the shown job, whole screen: what its engine wrote, or its events as lines."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from t2v_tui.headline import Piece, Tone
from t2v_tui.keys import bindings_for
from t2v_tui.screens.base import Cockpit
from t2v_tui.state import State
from t2v_tui.widgets.chrome import Line, content_of
from t2v_tui.widgets.log_view import LogView
from t2v_tui.words import JOB_GLYPHS, gb, job_in_words

EMPTY = """Nothing was written here.

E   shows the job's events as lines, or what its engine wrote
7   shows every job; enter there opens one here"""


class LogScreen(Cockpit):
    NAME = "log"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("log")]

    def __init__(self) -> None:
        super().__init__()
        self.shows_events: bool | None = None  # None: whichever has something to say
        self._shown: Path | None = None

    def body(self) -> ComposeResult:
        yield Line(id="about")
        yield LogView(empty=EMPTY)

    def on_mount(self) -> None:
        self.query_one(LogView).query_one("SearchableLog").focus()

    def show(self, state: State, _now_t: float) -> None:
        job = state.shown_job
        if state.shown is None:
            self.query_one("#about", Line).show(content_of([Piece(" no job is shown; 7 lists them all", Tone.DIM)]))
            return
        raw, events = self.cockpit.log_of(state.shown), self.cockpit.journal_of(state.shown)
        wants_events = self._wants_events(raw, events)
        path = events if wants_events else raw
        if path != self._shown:
            self._shown = path
            kind = "events" if wants_events else "log"
            self.query_one(LogView).show(path, f"{kind} · {state.shown.job}")
        row = job.row if job else None
        state_words = f"{JOB_GLYPHS.get(row.state, ' ')} {row.state}" if row else ""
        other = f"what the engine wrote ({_words(raw)})" if wants_events else f"its events ({_words(events)})"
        pieces = [Piece(f" {state.shown.host} "), Piece(state_words, Tone.ACCENT)]
        pieces += [
            Piece(f" · {job_in_words(row)}" if row and job_in_words(row) else ""),
            Piece(f" · E shows {other}", Tone.DIM),
        ]
        self.query_one("#about", Line).show(content_of(pieces))

    def _wants_events(self, raw: Path, events: Path) -> bool:
        """What was asked for; else the events, unless only the engine has written something."""
        return self.shows_events if self.shows_events is not None else bool(_size(events)) or not _size(raw)

    def action_other(self) -> None:
        """Events, or what the engine wrote."""
        shown = self.cockpit.state.shown
        if shown is not None:
            self.shows_events = self._shown != self.cockpit.journal_of(shown)
            self._draw()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _words(path: Path) -> str:
    size = _size(path)
    return gb(size) if size > 10_000_000 else f"{size / 1000:,.1f} kB"
