"""Reads what trainings measured, how they were set and what they are called, in a thread, again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.library.runs.board import evaluations, events_of, row_of, scores_by_run, sessions_of
from t2v_tui.library.runs.labels import Label, label_of
from t2v_tui.library.runs.measured import PIECE_BYTES, Measured, RunReader
from t2v_tui.library.runs.settings import asked_here, asked_there, with_defaults
from t2v_tui.store.state import LOCAL, JobKey
from t2v_tui.workers.streams import NEVER, Stream

if TYPE_CHECKING:
    from remote.cost.ledger import Session
    from remote.jobs.follow import Follower
    from remote.replies.job_row import JobRow
    from t2v_tui.library.runs.board import Scored
    from t2v_tui.store.runs import RunRow
    from t2v_tui.workers.services import Services

LOOK_S, TELL_S, OTHERS_S = 2.0, 0.5, 10.0
# Of runs that have ended nothing comes any more: each look without anything new is followed by a longer pause.
MOST_LOOK_S = 16.0
# Between two pieces: in that time the screen draws, which waits for the thread that parses.
BREATH_S = 0.003


@dataclass(frozen=True)
class KnownRun:
    """What was read of a run.

    settings: all of them; empty while they are not known
    sessions: of its host's VM
    """

    measured: Measured = field(default_factory=Measured)
    settings: Mapping[str, Any] = field(default_factory=dict)
    label: Label = field(default_factory=Label)
    scored: tuple[Scored, ...] = ()
    sessions: tuple[Session, ...] = ()

    def row(self, key: JobKey, job: JobRow, now_t: float) -> RunRow:
        """Return it as a row of the table."""
        return row_of(
            key, job, settings=self.settings, label=self.label, measured=self.measured, scored=self.scored,
            sessions=self.sessions, now_t=now_t,
        )  # fmt: skip


class RunsReading(Stream):
    """Reads the runs that are wanted, in that order; tells what is known of those of which something is new."""

    def __init__(
        self, workspace: Workspace, services: Services | None, tell_runs: Callable[[Mapping[JobKey, KnownRun]], None]
    ) -> None:
        super().__init__("read runs", lambda _news: None)
        self.workspace, self.services, self.tell_runs = workspace, services, tell_runs
        self._wanted: tuple[JobKey, ...] = ()
        self._readers: dict[JobKey, RunReader] = {}
        self._known: dict[JobKey, KnownRun] = {}
        self._looked_at, self._may_grow = -OTHERS_S, True
        self._fetches: dict[JobKey, EventsFetch] = {}

    def want(self, runs: Sequence[JobKey], *, may_grow: bool = True) -> None:
        """Read these from now on, the first of them first; any thread may ask. may_grow: one of them goes on"""
        self._may_grow = may_grow
        if tuple(runs) != self._wanted:
            self._wanted = tuple(runs)
            self.wake()

    def look_again(self) -> None:
        """Read names and notes now; any thread may ask."""
        self._looked_at = -OTHERS_S
        self.wake()

    def fetch(self, runs: Sequence[JobKey]) -> None:
        """Bring the events of these from their hosts, and go on while they run; any thread may ask."""
        services = self.services
        for job in runs:
            if services is not None and job.host != LOCAL and job not in self._fetches:
                self._fetches[job] = EventsFetch(job, services)
                self._fetches[job].start()

    def run(self) -> None:
        """Read until it is closed."""
        pause_s = LOOK_S
        while not self.is_closed:
            has_new, has_others = self._read_all()
            pause_s = LOOK_S if has_new or self._may_grow else min(MOST_LOOK_S, 2 * pause_s)
            if not has_others:
                self.pause(pause_s)

    def close(self) -> None:
        """End it, and what it brings from hosts."""
        super().close()
        for fetch in self._fetches.values():
            fetch.close()

    def _read_all(self) -> tuple[bool, bool]:
        """Each of the wanted ones to its end, as it is now; (something is new, the list is another by then)."""
        wanted, new, told_at = self._wanted, self._look_at_others(), time.monotonic()
        has_new = bool(new)
        for job in wanted:
            reader = self._readers.setdefault(job, RunReader(events_of(self.workspace, job)))
            while reader.read(PIECE_BYTES):
                new.add(job)
                has_new = True
                if self.is_closed or self._wanted != wanted:
                    break
                if time.monotonic() - told_at > TELL_S:
                    self._tell(new)
                    told_at = time.monotonic()
                time.sleep(BREATH_S)
            if self.is_closed:
                return has_new, False
            if self._wanted != wanted:
                break
        self._tell(new)
        return has_new, self._wanted != wanted

    def _tell(self, new: set[JobKey]) -> None:
        for job in new:
            known, reader = self._known.get(job, KnownRun()), self._readers.get(job)
            if reader is not None:
                self._known[job] = KnownRun(
                    reader.measured(), known.settings, known.label, known.scored, known.sessions
                )
        if new:
            self.tell_runs({job: self._known[job] for job in new if job in self._known})
        new.clear()

    def _look_at_others(self) -> set[JobKey]:
        """Settings, names, scores and the bill, now and then; returns the runs of which something is new."""
        is_due = time.monotonic() - self._looked_at >= OTHERS_S
        runs = [job for job in self._wanted if is_due or job not in self._known]
        if not runs:
            return set()
        self._looked_at = time.monotonic()
        checkpoints = {job: known.measured.checkpoints for job, known in self._known.items()}
        scored = scores_by_run(evaluations(self.workspace), checkpoints)
        sessions = {host: tuple(sessions_of(self.workspace, host)) for host in {job.host for job in runs}}
        new = set()
        for job in runs:
            before = self._known.get(job)
            known = KnownRun(
                before.measured if before else Measured(), before.settings if before else {},
                label_of(self.workspace, job), tuple(scored.get(job, ())), sessions[job.host],
            )  # fmt: skip
            if not known.settings and (asked := self._asked(job)) is not None:
                known = KnownRun(known.measured, with_defaults(asked), known.label, known.scored, known.sessions)
            if known != before:
                self._known[job] = known
                new.add(job)
        return new

    def _asked(self, job: JobKey) -> Mapping[str, Any] | None:
        known = asked_here(self.workspace, job)
        if known is None and job.host != LOCAL and self.services is not None:
            try:
                return asked_there(self.workspace, job, self.services.jobs(job.host))
            except EngineError:
                return None
        return known


class EventsFetch(threading.Thread):
    """Brings a run's events from its host into this workspace, where they are read; none of them is kept in memory."""

    def __init__(self, job: JobKey, services: Services) -> None:
        super().__init__(name=f"fetch {job.job}", daemon=True)
        self.job, self.services = job, services
        self._follower: Follower | None = None
        self._closed = threading.Event()

    def run(self) -> None:
        """Follow the job until all of it is here; a host that is not heard is left alone: what came stays."""
        from remote.jobs.follow import Follower
        from remote.jobs.spool import Spool

        try:
            spool = Spool.of(self.services.workspace, self.job.host, self.job.job)
            if spool.is_whole or self._closed.is_set():
                return
            self._follower = Follower(self.services.host(self.job.host), self.job.job, spool, since=NEVER)
            for _ in self._follower:
                if self._closed.is_set():
                    return
        except EngineError:
            return

    def close(self) -> None:
        """End it; any thread may."""
        self._closed.set()
        if self._follower is not None:
            self._follower.close()
