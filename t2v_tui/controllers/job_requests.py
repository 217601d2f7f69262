"""What is asked of a job while it runs: to save, to pause, to resume, to stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from textual.app import App

from t2v_core.errors import EngineError
from t2v_tui.controllers.live_state import LiveState
from t2v_tui.messages import CommandRan, Failed, Notice
from t2v_tui.store.state import JobKey, JobView
from t2v_tui.text import command_lines
from t2v_tui.workers.services import Services


class JobRequests:
    """now: the clock, Unix seconds"""

    def __init__(self, app: App[Any], live: LiveState, services: Services | None, now: Callable[[], float]) -> None:
        self.app, self.live, self.services, self.now = app, live, services, now

    def ask_shown(self, what: str, said: str) -> None:
        """Ask the job that is shown for something, while it runs.

        what: save, pause or resume; said: the notice that it was asked
        """
        if (job := self.shown_at_work()) is not None:
            self.ask(job.key, what, said)

    def ask(self, job: JobKey, what: str, said: str) -> None:
        """Ask a job for something. what, said: as `ask_shown`; beside: that it wait for no turn"""
        self._in_thread("request", partial(self._request, job, what, said))

    def replace(self, job: JobKey) -> None:
        """End a job that waits, and whose work another does now."""
        self._in_thread("stop", partial(self._stop, job))

    def shown_at_work(self) -> JobView | None:
        """Return the job that is shown while it runs; else say that it does not, and return None."""
        job = self.live.state.shown_job
        if job is None:
            self.app.notify("no training is shown: t starts one", timeout=3)
        elif job.row.has_ended:
            self.app.notify(f"this {job.row.verb} has ended: {job.row.state}", timeout=3)
        return job if job is not None and not job.row.has_ended else None

    def stop_after_yes(self, job: JobKey) -> None:
        """Stop a job, after asking; an engine error becomes a notice."""
        from t2v_tui.screens.panels.dialogs import Confirm
        from t2v_tui.text.confirmations import about_stopping  # rarely needed

        def answered(is_yes: bool | None) -> None:
            if is_yes:
                self._in_thread("stop", partial(self._stop, job))

        self.app.push_screen(Confirm(about_stopping(self.live.state, job, self.now())), answered)

    def _in_thread(self, group: str, work: Callable[[], None]) -> None:
        self.app.run_worker(work, thread=True, group=group, exit_on_error=False)

    def _request(self, job: JobKey, what: str, said: str) -> None:
        assert self.services is not None
        try:
            self.services.request(job, what)
        except EngineError as error:
            self.app.post_message(Failed(error.message, error.hint))
            return
        self.app.post_message(CommandRan(command_lines.ask(what, job)))
        self.app.post_message(Notice(said))

    def _stop(self, job: JobKey) -> None:
        assert self.services is not None
        try:
            self.services.stop(job)
        except EngineError as error:
            self.app.post_message(Failed(error.message, error.hint))
            return
        self.app.post_message(CommandRan(command_lines.stop_job(job)))
