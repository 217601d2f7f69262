"""Starts of work: with which settings, how one goes on, and who shows it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from textual.app import App

from remote.steps import Status
from t2v_tui.controllers.live_state import LiveState
from t2v_tui.messages import CommandRan, Failed
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.events import LaunchClosed, LaunchLeft, LaunchSaid, LaunchTurned, News
from t2v_tui.store.reducer import shows_left
from t2v_tui.store.state import JobKey, LaunchPhase, LaunchView, State
from t2v_tui.text import command_lines
from t2v_tui.workers.launch_controller import TAKE_BACK_S, Launcher
from t2v_tui.workers.launch_worker import Wanted
from t2v_tui.workers.services import Services

# The last step of a start can be read for this long.
DONE_SHOWN_S = 2.0


class Launches:
    """now: the clock, Unix seconds; wake: asks a host now"""

    def __init__(
        self,
        app: App[Any],
        live: LiveState,
        services: Services | None,
        now: Callable[[], float],
        wake: Callable[[str], None],
    ) -> None:
        self.app, self.live, self.now, self.wake = app, live, now, wake
        self._launcher = Launcher(services, live.tell, live.from_thread, self._note_started)

    @property
    def in_sight(self) -> LaunchView | None:
        """Return the start of work that the screen that is up shows; None when there is none."""
        launch = self.live.state.launch
        return launch if launch is not None and launch.screen == self.app.current_mode else None

    def begin(self, wanted: Wanted) -> None:
        """Begin the steps to a job, which the screen that it names shows."""
        self._launcher.begin(wanted, self.live.state, self.now())
        if wanted in self._launcher.waiting and self.in_sight is None:
            self.app.notify(f"{wanted.verb} waits for the start before it", timeout=4)

    def _note_started(self, wanted: Wanted) -> None:
        """Tell the lines that do the same; the first of two sends the video that is read."""
        values, root = dict(wanted.values), self.live.state.workspace
        if wanted.sends is not None:
            path = str(wanted.sends.relative_to(root)) if wanted.sends.is_relative_to(root) else str(wanted.sends)
            values["input"] = path
            self.app.post_message(CommandRan(command_lines.push(path, wanted.host)))
        self.app.post_message(CommandRan(command_lines.start(wanted.verb, values, wanted.host)))

    def agree(self) -> None:
        """Start what costs, after a yes."""
        self._launcher.agree(self.live.state)

    def again(self, **otherwise: Any) -> None:
        """Begin again one that failed or was cancelled. otherwise: settings that are to be others this time"""
        self._launcher.again(self.live.state, self.now(), **otherwise)

    def leave(self) -> None:
        """Cancel one that can still be cancelled; else only close its panel."""
        self._launcher.leave(self.live.state, self.now())

    def heard(self, news: News) -> None:
        """Do what an event asks for once the state has it."""
        match news:
            case LaunchTurned(LaunchPhase.WORKING, job) if job is not None:
                self._has_job(job)
            case LaunchTurned(LaunchPhase.FAILED):
                self._say_failed()
            case LaunchSaid(step) if step.name == "VM" and self.live.state.launch is not None:
                self.wake(self.live.state.launch.host)
            case LaunchLeft(host, step):
                self.wake(host)
                if step.status is not Status.OK and not shows_left(self.live.state, host):
                    self.app.notify(step.hint, title=step.detail, severity="warning", timeout=12, markup=False)

    def changed(self, before: State) -> None:
        """Close the panel a moment after the last step."""
        phases = [state.launch.phase if state.launch else None for state in (before, self.live.state)]
        if phases[0] is not phases[1] and phases[1] is LaunchPhase.DONE:
            self.app.set_timer(DONE_SHOWN_S, self._close_done)

    def _close_done(self) -> None:
        """The curve takes its place again."""
        launch = self.live.state.launch
        if launch is not None and launch.phase is LaunchPhase.DONE:
            self.live.tell(LaunchClosed())

    def _has_job(self, job: JobKey) -> None:
        """The screen that started it takes it up, wherever the user is by now, and the next start is begun."""
        launch = self.live.state.launch
        if launch is None:
            return
        for screen in self.app.get_screen_stack(launch.screen):
            if isinstance(screen, Cockpit):
                screen.has_started(job)
        if launch.verb != "train":  # nobody waits for its first loss
            self.app.set_timer(TAKE_BACK_S, partial(self._close_begun, job))
        self._launcher.go_on(self.live.state, self.now())
        now = self.live.state.launch
        if now is not None and now.phase is LaunchPhase.ASKING and self.in_sight is None:
            self.app.notify(
                f"{now.verb} on {now.host} costs money: its screen asks you to confirm", timeout=8, markup=False
            )

    def _close_begun(self, job: JobKey) -> None:
        """The panel has nothing more to say of a job that cannot be taken back."""
        launch = self.live.state.launch
        if launch is not None and launch.job == job and launch.phase is LaunchPhase.WORKING:
            self.live.tell(LaunchClosed())

    def _say_failed(self) -> None:
        """Where its panel is not in sight."""
        launch = self.live.state.launch
        step = launch.failed_step if launch is not None and self.in_sight is None else None
        if step is not None:
            self.app.post_message(Failed(step.detail, step.hint))
