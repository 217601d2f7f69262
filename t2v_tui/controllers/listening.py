"""Which hosts and jobs are listened to, as the state asks for."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.app import App

from t2v_core.errors import EngineError
from t2v_tui.controllers.live_state import LiveState
from t2v_tui.messages import Failed
from t2v_tui.store.events import HostsKnown, JobShown, News, Remembered, RowsReceived, RunEnded
from t2v_tui.store.state import JobKey
from t2v_tui.workers.services import Services
from t2v_tui.workers.subscriptions import Subscriptions


class Listening:
    """services: what talks to hosts; None listens to nobody"""

    def __init__(self, app: App[Any], live: LiveState, services: Services | None) -> None:
        self.app, self.live, self.services = app, live, services
        self._to = Subscriptions(services, live.from_thread, live.run_is_ready) if services else None

    def read_hosts(self) -> None:
        """Read, in a thread, the hosts of t2v.toml, and what is remembered of their jobs."""
        if self.services is not None:
            read = partial(self._read_hosts, self.services)
            self.app.run_worker(read, thread=True, exclusive=True, group="hosts", exit_on_error=False)

    def _read_hosts(self, services: Services) -> None:
        try:
            self.live.from_thread(HostsKnown(services.hosts()))
            state = self.live.state
            self.live.from_thread(Remembered({}, services.remembered(), state.host, state.shown))
        except EngineError as error:
            self.live.from_thread(HostsKnown((services.here(),)))
            self.app.post_message(Failed(error.message, error.hint))

    def heard(self, news: News) -> None:
        """Do what an event asks for once the state has it."""
        match news:
            case HostsKnown():
                self.listen()
            case RunEnded(job) if self._to is not None:
                self._to.has_ended(job)
            case RowsReceived() | Remembered():
                self._show_something()

    def listen(self) -> None:
        """Listen to the hosts that there are now, and closely to the chosen one."""
        if self._to is not None:
            self._to.listen(self.live.state)

    def note_state(self) -> None:
        """Let the threads know the state, which says whom they need not ask."""
        if self._to is not None:
            self._to.state = self.live.state

    def follow(self, job: JobKey) -> None:
        """Follow a job to its end."""
        if self._to is not None:
            self._to.follow(job)

    def wake(self, host: str) -> None:
        """Ask it now; any thread may."""
        if self._to is not None:
            self._to.wake(host)

    def close(self) -> None:
        """Stop listening, for good."""
        if self._to is not None:
            self._to.close()
            self._to = None

    def _show_something(self) -> None:
        """The job that was shown, else the training that runs, else the newest."""
        if self.live.state.shown is None:
            trainings = [job for job in self.live.state.jobs.values() if job.row.verb == "train"]
            if trainings:
                newest = max(trainings, key=lambda job: (not job.row.has_ended, job.row.began_t))
                self.live.tell(JobShown(newest.key))
        if (shown := self.live.state.shown) is not None and shown in self.live.state.jobs:
            self.follow(shown)
