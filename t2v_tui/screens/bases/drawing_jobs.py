"""Jobs that draw videos: what each was asked for, and what the one that is watched has drawn so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message

from remote.replies.questions import READ
from t2v_core.errors import EngineError
from t2v_tui.messages import FollowJob
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.store.state import JobKey, JobView, Reach, State
from t2v_tui.widgets.video.film import Film, film_of

if TYPE_CHECKING:
    from t2v_tui.workers.services import Services

MOST_JOBS = 30


class Drawn(Message):
    """What a job has drawn so far."""

    def __init__(self, job: JobKey, film: Film) -> None:
        super().__init__()
        self.job, self.film = job, film


class SpecsRead(Message):
    """What jobs were asked for."""

    def __init__(self, specs: Mapping[JobKey, Mapping[str, Any]]) -> None:
        super().__init__()
        self.specs = dict(specs)


class DrawingJobs:
    """Follows and reads for one screen, whose threads these are and which takes Drawn and SpecsRead.

    verbs:   whose jobs it lists
    watched: the one whose video is shown while it is drawn
    specs:   what jobs were asked for, as far as it was read
    """

    def __init__(self, screen: LibraryScreen, verbs: Sequence[str]) -> None:
        self._screen, self._verbs = screen, verbs
        self.watched: JobKey | None = None
        self.specs: dict[JobKey, Mapping[str, Any]] = {}
        self._asked: dict[JobKey, float] = {}  # when the spec of each was asked for
        self._followed: set[JobKey] = set()

    @property
    def watched_job(self) -> JobView | None:
        """Return the state of the watched one; None when there is none, or it is not known."""
        return self._screen.cockpit.state.jobs.get(self.watched) if self.watched is not None else None

    def listed(self, state: State) -> list[JobView]:
        """Return what is at work and what has ended last, at most 30 of them."""
        jobs = [job for job in state.jobs.values() if job.row.verb in self._verbs]
        return sorted(jobs, key=lambda job: (job.row.has_ended, -job.row.began_t))[:MOST_JOBS]

    def watch(self, job: JobKey) -> None:
        """Show this job's video from now on, and listen to it."""
        self.watched = job
        self._listen_to(job)

    def follow(self, jobs: list[JobView]) -> None:
        """Listen to what is at work, and read what each was asked for."""
        alive = [job for job in jobs if not job.row.has_ended]
        for job in alive:
            if job.key not in self._followed:
                self._listen_to(job.key)
        unread = [job.key for job in jobs if self._is_unread(job.key)]
        if unread and (services := self._screen.services) is not None:
            self._asked.update(dict.fromkeys(unread, self._screen.cockpit.now()))
            self._start(partial(self._read_specs, services, unread), "specs")
        if self.watched is None and alive:
            self.watched = next((job.key for job in alive if job.row.state == "running"), alive[-1].key)

    def _listen_to(self, job: JobKey) -> None:
        self._followed.add(job)
        self._screen.post_message(FollowJob(job))

    def _is_unread(self, job: JobKey) -> bool:
        """What it was asked for is not known; of a host that could not say, again once it answers again."""
        host = self._screen.cockpit.state.hosts.get(job.host)
        heard_t = host.link.since_t if host is not None and host.link.reach is Reach.UP else 0.0
        return job not in self._asked or (not self.specs.get(job) and self._asked[job] < heard_t)

    def read_preview(self) -> None:
        """Read what the watched job has drawn, while it runs and its screen is up; Drawn tells."""
        job, services = self.watched_job, self._screen.services
        if job is not None and job.row.state == "running" and services is not None and self._screen.is_current:
            self._start(partial(self._read_preview, services, job.key), "preview", is_exclusive=True)

    def _start(self, work: Callable[[], None], group: str, *, is_exclusive: bool = False) -> None:
        self._screen.run_worker(work, group=group, thread=True, exclusive=is_exclusive, exit_on_error=False)

    def _read_specs(self, services: Services, jobs: list[JobKey]) -> None:
        from t2v_tui.workers.asked_for import spec_of

        specs: dict[JobKey, Mapping[str, Any]] = {}
        for job in jobs:
            try:
                specs[job] = spec_of(services, job)
            except EngineError:  # its host is not heard: the job's id has to do
                continue
        self._screen.post_message(SpecsRead(specs))

    def _read_preview(self, services: Services, job: JobKey) -> None:
        try:
            said = services.jobs(job.host).ask(READ, path=f"jobs/{job.job}/preview")
            film = film_of(said.data, Path("preview"))
        except EngineError:  # nothing is drawn yet, or the host is not heard, which the headline says
            return
        self._screen.post_message(Drawn(job, film))
