"""Jobs that draw videos: what each was asked for, and what it has drawn so far."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.message import Message

from remote.replies.questions import READ
from t2v_core.errors import EngineError
from t2v_tui.messages import FollowJob
from t2v_tui.screens.holdings_screen import HoldingsScreen
from t2v_tui.store.state import JobKey, JobView, Reach, State
from t2v_tui.widgets.video.film import Film, film_of
from t2v_tui.widgets.video.player import Player

if TYPE_CHECKING:
    from t2v_tui.workers.services import Services

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
        self._asked: dict[JobKey, float] = {}  # when the spec of each was asked for
        self._followed: set[JobKey] = set()

    def on_mount(self) -> None:
        """Look every second for what the watched job has drawn."""
        self.set_interval(LOOK_EVERY_S, self._look)

    @property
    def result(self) -> Player:
        """Return the player that shows what was drawn."""
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
        unread = [job.key for job in jobs if self._unread(job.key)]
        if unread and self.services is not None:
            now_t = self.cockpit.now()
            self._asked.update(dict.fromkeys(unread, now_t))
            self._read_specs(self.services, unread)
        alive = [job for job in jobs if not job.row.has_ended]
        if self.watched is None and alive:
            self.watched = next((job.key for job in alive if job.row.state == "running"), alive[-1].key)

    def _unread(self, job: JobKey) -> bool:
        """What it was asked for is not known; of a host that could not say, again when it is heard anew."""
        host = self.cockpit.state.hosts.get(job.host)
        heard_t = host.link.since_t if host is not None and host.link.reach is Reach.UP else 0.0
        return job not in self._asked or (not self._specs.get(job) and self._asked[job] < heard_t)

    def watch_job(self, job: JobKey) -> None:
        """Show this job's video from now on, and listen to it."""
        self.watched = job
        self._followed.add(job)
        self.post_message(FollowJob(job))
        self.redraw()

    @work(thread=True, group="specs", exit_on_error=False)
    def _read_specs(self, services: Services, jobs: list[JobKey]) -> None:
        from t2v_tui.workers.asked_for import spec_of

        specs: dict[JobKey, Mapping[str, Any]] = {}
        for job in jobs:
            try:
                specs[job] = spec_of(services, job)
            except EngineError:  # its host is not heard: the job's id has to do
                continue
        self.post_message(self.SpecsRead(specs))

    def on_watching_screen_specs_read(self, message: SpecsRead) -> None:
        """Take what jobs were asked for, and draw it."""
        self._specs.update(message.specs)
        self.redraw()

    def _look(self) -> None:
        job = self.cockpit.state.jobs.get(self.watched) if self.watched is not None else None
        if job is not None and job.row.state == "running" and self.services is not None and self.is_current:
            self._read_preview(self.services, job.key)

    @work(thread=True, exclusive=True, group="preview", exit_on_error=False)
    def _read_preview(self, services: Services, job: JobKey) -> None:
        try:
            said = services.jobs(job.host).ask(READ, path=f"jobs/{job.job}/preview")
            film = film_of(said.data, Path("preview"))
        except EngineError:  # nothing is drawn yet, or the host is not heard, which the headline says
            return
        self.post_message(self.Looked(job, film))

    def on_watching_screen_looked(self, message: Looked) -> None:
        """Show what the watched job has drawn so far; another's, or that of one that has ended, is left out."""
        job = self.cockpit.state.jobs.get(message.job)
        if message.job == self.watched and job is not None and not job.row.has_ended:
            self.result.show_film(message.film)
