"""Threads that listen as long as the app runs: each tells one thing after another, and touches no widget.

They are daemons and not Textual's workers: a thread that waits for a dead link must not hold up the way out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from remote.job_row import JobRow
from t2v_core.errors import EngineError
from t2v_core.events import Event
from t2v_tui.news import LinkHeard, MachineHeard, News, RowsHeard, RunEnded, RunPiece
from t2v_tui.runs import Fold
from t2v_tui.services import Services
from t2v_tui.state import JobKey, LinkView, Reach

if TYPE_CHECKING:
    from remote.logs import Follower

Tell = Callable[[News], None]
# A job's end is known within a second; with nothing at work nothing changes unless somebody else starts something.
BUSY_S, IDLE_S = 1.0, 4.0
RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
NEVER = 2**62


class Stream(threading.Thread):
    """One thing that is listened to."""

    def __init__(self, name: str, tell: Tell) -> None:
        super().__init__(name=name, daemon=True)
        self.tell = tell
        self._closed, self._woken = threading.Event(), threading.Event()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """End it; any thread may."""
        self._closed.set()
        self._woken.set()

    def wake(self) -> None:
        """Look now, not when the pause is over."""
        self._woken.set()

    def pause(self, seconds: float) -> None:
        self._woken.wait(seconds)
        self._woken.clear()


class HostPoll(Stream):
    """Asks a host for its jobs again and again; whether it answers is the state of the link."""

    def __init__(self, host: str, services: Services, tell: Tell) -> None:
        super().__init__(f"poll {host}", tell)
        self.host, self.services = host, services

    def run(self) -> None:
        attempt = 0
        while not self.is_closed:
            try:
                answer = self.services.rows(self.host)
            except EngineError as error:
                link = LinkView(Reach.LOST, time.time(), None, None, error.message, error.hint)
                self.tell(LinkHeard(self.host, link))
                self.pause(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
                continue
            attempt, now_t = 0, time.time()
            self.tell(LinkHeard(self.host, LinkView(Reach.UP, now_t, now_t, answer.latency_s)))
            self.tell(RowsHeard(self.host, answer.rows, now_t))
            self.pause(BUSY_S if any(not row.has_ended for row in answer.rows) else IDLE_S)


class RunFollow(Stream):
    """Follows one job across lost links. What it said is folded here, and taken when the screen is ready for it.

    ready: told at most once until `take` is called
    """

    def __init__(self, job: JobKey, services: Services, tell: Tell, ready: Callable[[RunFollow], None]) -> None:
        super().__init__(f"follow {job.job}", tell)
        self.job, self.services, self.ready = job, services, ready
        self._lock = threading.Lock()
        self._fold, self._is_told, self._is_first = Fold(), False, True
        self._link_why: str | None = None
        self._follower: Follower | None = None

    def run(self) -> None:
        from remote.logs import Follower  # noqa: PLC0415
        from remote.spool import Spool  # noqa: PLC0415

        spool = Spool.of(self.services.workspace, self.job.host, self.job.job)
        attempt = 0
        while not self.is_closed:
            try:
                self._follower = Follower(self.services.host(self.job.host), self.job.job, spool, since=NEVER)
                self._listen(self._follower)
                return
            except EngineError as error:
                self._note(link_why=error.message)
            self.pause(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1
            with self._lock:
                self._fold, self._is_first = Fold(), True

    def _listen(self, follower: Follower) -> None:
        from remote.logs import LinkState  # noqa: PLC0415

        for said in follower:
            match said:
                case Event():
                    self._note(said)
                case LinkState():
                    self._note(link_why="" if said.is_up else said.why or "the link is lost")
                case JobRow():
                    self._note()
                    self.tell(RunEnded(self.job, said, time.time()))

    def _note(self, event: Event | None = None, *, link_why: str | None = None) -> None:
        with self._lock:
            if event is not None:
                self._fold.take(event)
            if link_why is not None:
                self._link_why = link_why
            is_told, self._is_told = self._is_told, True
        if not is_told:
            self.ready(self)

    def take(self) -> RunPiece:
        """What was said since the last time."""
        with self._lock:
            fold, self._fold = self._fold, Fold()
            is_first, self._is_first = self._is_first, False
            link_why, self._link_why, self._is_told = self._link_why, None, False
        return fold.piece(self.job, is_first=is_first, link_why=link_why)

    def close(self) -> None:
        super().close()
        if (follower := self._follower) is not None:
            follower.close()


class MachineWatch(Stream):
    """GPU, processor, memory and disk of a host, as long as somebody looks."""

    def __init__(self, host: str, services: Services, tell: Tell) -> None:
        super().__init__(f"watch {host}", tell)
        self.host, self.services = host, services

    def run(self) -> None:
        from remote.metrics import watch_machine  # noqa: PLC0415

        while not self.is_closed:
            try:
                host = self.services.host(self.host)
                try:
                    for sample in watch_machine(host):
                        if self._closed.is_set():
                            return
                        self.tell(MachineHeard(self.host, sample, time.time()))
                finally:
                    host.close()
            except EngineError:
                # The poll of the same host says that it is not heard; here it is only waited for.
                self.pause(5.0)
