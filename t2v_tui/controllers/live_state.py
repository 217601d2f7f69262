"""The state as it is now: what changes it, and when the screen is drawn again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from textual.app import App
from textual.message import Message

from t2v_core.workspace import Workspace
from t2v_tui.messages import EventReceived
from t2v_tui.store.events import MachineReceived, News, Remembered
from t2v_tui.store.reducer import reduce
from t2v_tui.store.session import SessionMemory
from t2v_tui.store.state import State
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import RunFollow

# Drawn at most this often, however many events arrive; and this often though none does, while nothing is counted in
# seconds.
DRAW_INTERVAL_S, AT_REST_S = 0.1, 10.0


@dataclass
class RunReady(Message):
    """A followed job has new events; they are taken with the next drawing."""

    follow: RunFollow


class LiveState:
    """changed: called with the state before each change; draw: draws what is on the screen

    draw_machine: draws only how the machine does, which is heard every two seconds
    """

    def __init__(
        self,
        app: App[Any],
        state: State,
        *,
        changed: Callable[[State], None],
        draw: Callable[[], None],
        draw_machine: Callable[[], None],
    ) -> None:
        self.app, self.state = app, state
        self._changed, self._draw_screen, self._draw_machine = changed, draw, draw_machine
        self._ready_runs: list[RunFollow] = []
        self._drawn_t, self._is_drawing_due = 0.0, False

    def tell(self, news: News) -> None:
        """Take up what happened, and draw it soon; how a machine does is drawn alone, at once."""
        if not self._advance(news):
            return
        if isinstance(news, MachineReceived):
            self._draw_machine()
        else:
            self._draw_in(max(0.01, DRAW_INTERVAL_S - (time.monotonic() - self._drawn_t)))

    def from_thread(self, news: News) -> None:
        """Take up what happened, from any thread."""
        self.app.post_message(EventReceived(news))

    def run_is_ready(self, follow: RunFollow) -> None:
        """Take up what a followed job has said, from any thread."""
        self.app.post_message(RunReady(follow))

    def take_soon(self, follow: RunFollow) -> None:
        """Take what a followed job has said with the next drawing."""
        self._ready_runs.append(follow)
        self._draw_in(DRAW_INTERVAL_S)

    def tick(self) -> None:
        """Draw what reads differently with time: each second, or every ten where nothing is counted in seconds."""
        if not self.state.is_at_rest or time.monotonic() - self._drawn_t >= AT_REST_S:
            self.draw()

    def draw(self) -> None:
        """Take what followed jobs have said, and draw."""
        self._is_drawing_due, self._drawn_t = False, time.monotonic()
        ready, self._ready_runs = self._ready_runs, []
        for follow in ready:
            self._advance(follow.take())
        self._draw_screen()

    def _draw_in(self, seconds: float) -> None:
        if not self._is_drawing_due:
            self._is_drawing_due = True
            self.app.set_timer(seconds, self.draw)

    def _advance(self, news: News) -> bool:
        """The next state; False when nothing changed."""
        before, self.state = self.state, reduce(self.state, news)
        if self.state is before:
            return False
        self._changed(before)
        return True


def first_state(workspace: Workspace, services: Services | None, given: State | None, memory: SessionMemory) -> State:
    """Return what is shown first: the given state with what the last session saw."""
    state = reduce(given or State(workspace.root), Remembered(memory.hosts, (), memory.host, memory.shown))
    if services is not None and not state.hosts:
        here = services.here()  # the others come with t2v.toml, and the chosen one may be among them
        state = replace(state, hosts={here.name: here})
    return state
