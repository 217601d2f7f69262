"""The log of the shown job, whole screen: what its engine wrote, or its events as lines."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType

from t2v_core.format import size
from t2v_tui.keys import bindings_for
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.state import State
from t2v_tui.text.headline import Piece, Tone
from t2v_tui.text.job_words import JOB_GLYPHS, job_in_words
from t2v_tui.text.unreachable import asked, instead_of_empty, not_heard_of, waits
from t2v_tui.widgets.chrome import Line, content_of
from t2v_tui.widgets.log.view import LogView

NO_JOB = """No job is shown yet.

7   shows every job; enter there opens one here
t   starts a training, whose log then appears here"""


class LogScreen(Cockpit):
    NAME = "log"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("log")]

    def __init__(self) -> None:
        super().__init__()
        self.shows_events: bool | None = None  # None: whichever has something to say
        self._shown: Path | None = None

    def body(self) -> ComposeResult:
        """Lay out a line about the job over its log."""
        yield Line(id="about")
        yield LogView(empty=NO_JOB)

    def on_mount(self) -> None:
        """Put the focus on the log."""
        self.query_one(LogView).query_one("LogLines").focus()

    def show(self, state: State, now_t: float) -> None:
        """Draw the log or the events of the shown job, and the line about it."""
        self.query_one(LogView).say_when_empty(before_log(state, now_t))
        if state.shown is None:
            self.query_one("#about", Line).show(content_of([Piece(" no job is shown", Tone.DIM)]))
            return
        raw, events = self.cockpit.files.log_of(state.shown), self.cockpit.files.journal_of(state.shown)
        wants_events = self._wants_events(raw, events)
        path = events if wants_events else raw
        if path != self._shown:
            self._shown = path
            kind = "events" if wants_events else "log"
            self.query_one(LogView).show(path, f"{kind} · {state.shown.job}")
        other = f"what the engine wrote ({_title_of(raw)})" if wants_events else f"its events ({_title_of(events)})"
        line = self.query_one("#about", Line)
        pieces = about_shown(state, now_t, line.size.width)
        room = line.size.width - sum(cell_len(piece.text) for piece in pieces)
        also = next((text for text in (f" · E shows {other}", " · E the other log") if len(text) <= room), "")
        line.show(content_of([*pieces, Piece(also, Tone.DIM)]))

    def _wants_events(self, raw: Path, events: Path) -> bool:
        """What was asked for; else the events, unless only the engine has written something."""
        return self.shows_events if self.shows_events is not None else bool(_size(events)) or not _size(raw)

    def action_other(self) -> None:
        """Switch between its events and what the engine wrote."""
        shown = self.cockpit.state.shown
        if shown is not None:
            self.shows_events = self._shown != self.cockpit.files.journal_of(shown)
            self._draw()
        else:
            self.notify("no job is shown: 7 lists them, enter opens one", timeout=3)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _title_of(path: Path) -> str:
    return size(_size(path))


def about_shown(state: State, now_t: float, cells: int) -> list[Piece]:
    """Return its host and state, then what matters most; nothing when no job is shown.

    That is that its host is not heard, why it ended, or how far it is.
    """
    if state.shown is None:
        return []
    job = state.shown_job
    row = job.row if job else None
    pieces = [Piece(f" {state.shown.host} ")]
    pieces += [Piece(f"{JOB_GLYPHS.get(row.word, ' ')} {row.word}", Tone.ACCENT)] if row else []
    room = cells - sum(len(piece.text) for piece in pieces) - 3
    if row is not None and row.state in ("failed", "lost"):
        pieces.append(Piece(f" · {job_in_words(row)}" + (f" → {row.hint}" if row.hint else ""), Tone.BAD))
    elif lost := not_heard_of(state, state.shown, now_t, room):
        pieces.append(Piece(f" · {lost}", Tone.WARN))
    elif row is not None and job_in_words(row):
        pieces.append(Piece(f" · {job_in_words(row)}"))
    return pieces


def before_log(state: State, now_t: float) -> str:
    """Return what stands where no line is: what is waited for, or how to find one."""
    if state.shown is None:
        return instead_of_empty(list(state.hosts.values()), "its jobs", now_t) or NO_JOB
    host, job = state.hosts.get(state.shown.host), state.shown_job
    if host is not None and waits(host):
        return f"{asked(host, now_t)}, for this log"
    if lost := not_heard_of(state, state.shown, now_t, 70):
        return f"None of this log arrived here before the link was lost.\n{lost}"
    if job is not None and job.row.state == "queued":
        return f"It waits: {job_in_words(job.row) or 'it starts in a moment'}.\nIts first lines appear here."
    if job is not None and not job.row.has_ended:
        return "It has written nothing yet. Lines appear here as they come."
    return "Nothing was written here.\n\nE   shows the other one: its events, or what its engine wrote"
