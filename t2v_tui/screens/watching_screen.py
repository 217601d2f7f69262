"""Jobs that draw videos: what each was asked for, and what it has drawn so far."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.message import Message

from t2v_core.errors import EngineError
from t2v_tui.messages import FollowJob
from t2v_tui.screens.holdings_screen import HoldingsScreen
from t2v_tui.state import JobKey, JobView, State
from t2v_tui.widgets.film import Film, film_of
from t2v_tui.widgets.player import Player

if TYPE_CHECKING:
    from t2v_tui.services import Services

LOOK_EVERY_S = 1.0
MOST_JOBS = 30


class WatchingScreen(HoldingsScreen):
    """SHOWN: the verbs whose jobs it lists; watched: the one whose video is shown while it is drawn"""

    SHOWN: ClassVar[tuple[str, ...]]

    class Looked(Message):
        """What a job has drawn so far."""

        def __init__(self, job: JobKey, film: Film) -> None:
            super().__init__()
            self.job, self.film = job, film

    class SpecsRead(Message):
        """What jobs were asked for."""

        def __init__(self, specs: Mapping[JobKey, Mapping[str, Any]]) -> None:
            super().__init__()
            self.specs = dict(specs)

    def __init__(self) -> None:
        super().__init__()
        self.watched: JobKey | None = None
        self._specs: dict[JobKey, Mapping[str, Any]] = {}
        self._followed: set[JobKey] = set()

    def on_mount(self) -> None:
        self.set_interval(LOOK_EVERY_S, self._look)

    @property
    def result(self) -> Player:
        """Where what was drawn is shown."""
        return self.query_one("#result", Player)

    def _jobs(self, state: State) -> list[JobView]:
        jobs = [job for job in state.jobs.values() if job.row.verb in self.SHOWN]
        return sorted(jobs, key=lambda job: (job.row.has_ended, -job.row.began_t))[:MOST_JOBS]

    def _follow(self, jobs: list[JobView]) -> None:
        """Listen to what is at work, and read what each was asked for."""
        for job in jobs:
            if not job.row.has_ended and job.key not in self._followed:
                self._followed.add(job.key)
                self.post_message(FollowJob(job.key))
        unread = [job.key for job in jobs if job.key not in self._specs]
        if unread and self.services is not None:
            self._specs.update({key: {} for key in unread})
            self._read_specs(self.services, unread)
        alive = [job for job in jobs if not job.row.has_ended]
        if self.watched is None and alive:
            self.watched = next((job.key for job in alive if job.row.state == "running"), alive[-1].key)

    def watch_job(self, job: JobKey) -> None:
        self.watched = job
        self._followed.add(job)
        self.post_message(FollowJob(job))
        self.redraw()

    @work(thread=True, group="specs", exit_on_error=False)
    def _read_specs(self, services: Services, jobs: list[JobKey]) -> None:
        from t2v_tui.holdings_there import read_there  # noqa: PLC0415

        specs: dict[JobKey, Mapping[str, Any]] = {}
        for job in jobs:
            try:
                specs[job] = read_there(services.jobs(job.host), f"jobs/{job.job}/spec.json")
            except EngineError:  # its host is not heard: the job's id has to do
                continue
        self.post_message(self.SpecsRead(specs))

    def on_watching_screen_specs_read(self, message: SpecsRead) -> None:
        self._specs.update(message.specs)
        self.redraw()

    def _look(self) -> None:
        job = self.cockpit.state.jobs.get(self.watched) if self.watched is not None else None
        if job is not None and job.row.state == "running" and self.services is not None and self.is_current:
            self._read_preview(self.services, job.key)

    @work(thread=True, exclusive=True, group="preview", exit_on_error=False)
    def _read_preview(self, services: Services, job: JobKey) -> None:
        try:
            said = services.jobs(job.host).ask("read", path=f"jobs/{job.job}/preview")
            film = film_of(base64.b64decode(said["data"]), Path("preview"))
        except EngineError:  # nothing is drawn yet, or the host is not heard, which the headline says
            return
        self.post_message(self.Looked(job, film))

    def on_watching_screen_looked(self, message: Looked) -> None:
        job = self.cockpit.state.jobs.get(message.job)
        if message.job == self.watched and job is not None and not job.row.has_ended:
            self.result.show_film(message.film)
