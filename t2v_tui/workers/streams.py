"""Threads that listen as long as the app runs: each tells one thing after another, and touches no widget.

They are daemons and not Textual's workers: a thread that waits for a dead link must not hold up the way out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from remote.errors import HostUnreachable
from remote.power.state import Power
from remote.replies.job_row import JobRow
from t2v_core.errors import EngineError
from t2v_core.events import Event
from t2v_tui.store.events import LinkReceived, MachineReceived, News, RowsReceived, RunEnded, RunPiece, VmReceived
from t2v_tui.store.run_fold import Fold
from t2v_tui.store.state import LOCAL, GuardView, JobKey, LinkView, Reach, VmView
from t2v_tui.text.event_log import Journal, journal_of
from t2v_tui.workers.services import Services

if TYPE_CHECKING:
    from remote.jobs.follow import Follower
    from remote.jobs.spool import Spool

Tell = Callable[[News], None]
# A job's end is known within a second; with nothing at work nothing changes unless somebody else starts something.
BUSY_S, IDLE_S = 1.0, 4.0
LOOK_S, SETTLING_S = 15.0, 1.0
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
        """Return True once somebody has ended it."""
        return self._closed.is_set()

    def close(self) -> None:
        """End it; any thread may."""
        self._closed.set()
        self._woken.set()

    def wake(self) -> None:
        """Look now, not when the pause is over."""
        self._woken.set()

    def pause(self, seconds: float) -> None:
        """Wait for so long, or until somebody wakes or ends it."""
        self._woken.wait(seconds)
        self._woken.clear()


class HostPoll(Stream):
    """Asks a host for its jobs again and again; whether it answers is the state of the link."""

    def __init__(self, host: str, services: Services, tell: Tell, is_off: Callable[[str], bool]) -> None:
        """is_off: by its provider's word there is nobody who could answer"""
        super().__init__(f"poll {host}", tell)
        self.host, self.services, self.is_off = host, services, is_off
        self._parts: dict[str, bool] = {}  # of its jobs: are they parts of a job of this machine

    def _without_parts(self, rows: Sequence[JobRow]) -> tuple[JobRow, ...]:
        """Return the jobs but the parts of a job of this machine, which is listed in their place."""
        if self.host == LOCAL:
            return tuple(rows)
        from remote.jobs.spool import Spool  # which the first paint does without

        listed = []
        for row in rows:
            is_part = self._parts.get(row.job)
            if is_part is None:
                is_part = Spool.of(self.services.workspace, self.host, row.job).is_part
                if is_part or row.has_ended:  # whoever starts one marks it just after
                    self._parts[row.job] = is_part
            listed += [] if is_part else [row]
        return tuple(listed)

    def run(self) -> None:
        """Ask until it is closed: each second while a job is alive, else every 4 s; less often after a lost link."""
        attempt, has_begun = 0, False
        while not self.is_closed:
            if self.is_off(self.host):
                if has_begun:
                    self.tell(
                        LinkReceived(self.host, LinkView(Reach.LOST, time.time(), None, None, f"{self.host} is off"))
                    )
                has_begun = False
                self.pause(IDLE_S)
                continue
            if not has_begun:
                has_begun = True
                self.tell(LinkReceived(self.host, LinkView(Reach.ASKING, time.time())))
            try:
                answer = self.services.rows(self.host)
            except EngineError as error:
                link = LinkView(Reach.LOST, time.time(), None, None, error.message, error.hint)
                self.tell(LinkReceived(self.host, link))
                self.pause(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1
                continue
            attempt, now_t = 0, time.time()
            self.tell(LinkReceived(self.host, LinkView(Reach.UP, now_t, now_t, answer.latency_s)))
            self.tell(RowsReceived(self.host, self._without_parts(answer.rows), now_t))
            self.pause(BUSY_S if any(not row.has_ended for row in answer.rows) else IDLE_S)


class RunFollow(Stream):
    """Follows one job across lost links. What it said is folded here, and taken when the screen is ready for it.

    After a lost link the job is heard again from its first event; what was told by then is not told twice.

    ready: told at most once until `take` is called
    """

    def __init__(self, job: JobKey, services: Services, tell: Tell, ready: Callable[[RunFollow], None]) -> None:
        super().__init__(f"follow {job.job}", tell)
        self.job, self.services, self.ready = job, services, ready
        self._lock = threading.Lock()
        self._fold, self._is_told, self._is_first = Fold(), False, True
        self._folded = self._heard = 0  # events: in all, and since it was begun to be heard
        self._link_why: str | None = None
        self._follower: Follower | None = None
        self._journal = Journal(journal_of(services.workspace, job))

    def run(self) -> None:
        """Follow the job until it has ended or this is closed."""
        try:
            self._follow()
        finally:
            self._journal.close()

    def _follow(self) -> None:
        from remote.jobs.follow import Follower
        from remote.jobs.spool import Spool

        spool = Spool.of(self.services.workspace, self.job.host, self.job.job)
        attempt = 0
        while not self.is_closed:
            self._journal.again()
            self._heard = 0
            if spool.is_whole:
                self._read_whole(spool)
                return
            try:
                self._follower = Follower(self.services.host(self.job.host), self.job.job, spool, since=NEVER)
                self._listen(self._follower)
                return
            except EngineError as error:
                self._note(link_why=error.message)
            self.pause(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1

    def _read_whole(self, spool: Spool) -> None:
        """All of it is here: nobody has to be asked, and the host may be off."""
        if spool.events.exists():
            with spool.events.open("rb") as lines:
                for line in lines:
                    if (event := Event.from_line(line)) is not None:
                        self._note(event)
        self._note(link_why="")
        if (known := spool.known()) is not None:
            self.tell(RunEnded(self.job, known.row, known.seen_t))

    def _listen(self, follower: Follower) -> None:
        from remote.jobs.follow import LinkState

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
                self._heard += 1
                if self._heard > self._folded:
                    self._folded = self._heard
                    self._fold.take(event)
                self._journal.take(event)
            if link_why is not None:
                self._link_why = link_why
            is_told, self._is_told = self._is_told, True
        if not is_told:
            self.ready(self)

    def take(self) -> RunPiece:
        """Return what was said since the last time."""
        with self._lock:
            fold, self._fold = self._fold, Fold()
            is_first, self._is_first = self._is_first, False
            link_why, self._link_why, self._is_told = self._link_why, None, False
        return fold.piece(self.job, is_first=is_first, link_why=link_why)

    def close(self) -> None:
        """End it, and the conversation with the host."""
        super().close()
        if (follower := self._follower) is not None:
            follower.close()


class MachineWatch(Stream):
    """GPU, processor, memory and disk of a host, as long as somebody looks."""

    def __init__(self, host: str, services: Services, tell: Tell, is_off: Callable[[str], bool]) -> None:
        super().__init__(f"watch {host}", tell)
        self.host, self.services, self.is_off = host, services, is_off

    def run(self) -> None:
        """Tell each sample until it is closed; a host that is off or lost is tried again in a few seconds."""
        while not self.is_closed:
            if self.is_off(self.host):
                self.pause(IDLE_S)
                continue
            try:
                self._watch()
            except EngineError:
                # The poll of the same host says that it is not heard; here it is only waited for.
                self.pause(5.0)

    def _watch(self) -> None:
        from remote.jobs.metrics import watch_machine

        host = self.services.host(self.host)
        try:
            for sample in watch_machine(host):
                if self._closed.is_set() or self.is_off(self.host):
                    return
                self.tell(MachineReceived(self.host, sample, time.time()))
        finally:
            host.close()


class VmWatch(Stream):
    """Asks the provider how its machine is, and the machine's guard when it will stop."""

    def __init__(self, host: str, services: Services, tell: Tell) -> None:
        super().__init__(f"vm {host}", tell)
        self.host, self.services = host, services

    def run(self) -> None:
        """Ask until it is closed: every 15 s, and each second while the machine comes up or goes down."""
        while not self.is_closed:
            heard = self._look()
            self.tell(heard)
            self.pause(SETTLING_S if heard.vm.power in (Power.STARTING, Power.STOPPING) else LOOK_S)

    def _look(self) -> VmReceived:
        try:
            provider = self.services.provider(self.host)
            assert provider is not None  # only hosts with one are watched
            heard = provider.look()
        except EngineError as error:
            return VmReceived(self.host, VmView(problem=error.message, hint=error.hint))
        if heard.vm.power is not Power.RUNNING:
            return heard
        try:
            return replace(heard, guard=provider.guard(self.services.host(self.host)))
        except EngineError as error:  # of a machine that is not heard its poll tells
            return replace(heard, guard=GuardView(why="" if isinstance(error, HostUnreachable) else error.message))
