"""One host's part of a job of several: a job of its own there, submitted and followed."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from remote.agent.jobs.endings import LOGIN_ENDED, RESTARTED, UNIT_STOPPED
from remote.errors import JobNotFound
from remote.gang.ready import ReadyHost
from remote.hosts.settings import LOCAL
from remote.jobs.follow import Follower, LinkState, Said
from remote.jobs.spool import Spool
from remote.replies.job_row import JobRow
from t2v_core.errors import EngineError
from t2v_core.events import ErrorEvent
from t2v_core.processes.member import PLACE, STARTED_AGAIN
from t2v_core.processes.place import OTHER_HOST_GONE, Place
from t2v_core.specs import TrainSpec
from t2v_core.workspace import Workspace

BY_ITS_MACHINE = (RESTARTED, LOGIN_ENDED, UNIT_STOPPED)
DIED = 128
STOPPED = (4, 130)
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Heard:
    """What came from one member. said: None when it can be followed no more"""

    member: Member
    said: Said | None
    why: str = ""


class Member:
    """A part that runs, or ran; what it says goes into a queue.

    job: its id there; row: how it ended; None before that
    down_since: monotonic time since which its host is not heard; None while it is
    """

    def __init__(self, host: ReadyHost, job: str, workspace: Workspace) -> None:
        self.host, self.name, self.job = host, host.name, job
        self.row: JobRow | None = None
        self.error: ErrorEvent | None = None
        self.down_since: float | None = None
        self._was_ended = False
        self._follower = Follower(host.jobs.host, job, Spool.of(workspace, host.name, job))

    def follow(self, heard: queue.SimpleQueue[Heard]) -> None:
        """Begin to follow it; a thread of its own does it."""
        threading.Thread(target=self._follow, args=(heard,), name=f"follow {self.name}", daemon=True).start()

    def _follow(self, heard: queue.SimpleQueue[Heard]) -> None:
        try:
            for said in self._follower:
                heard.put(Heard(self, said))
        except EngineError as error:  # as of a host whose key changed, or one that is gone before its first word
            heard.put(Heard(self, None, error.message))

    def note(self, said: Said | None) -> None:
        """Keep what tells how it stands."""
        match said:
            case None:
                self.down_since = self.down_since or time.monotonic()
            case LinkState():
                self.down_since = None if said.is_up else self.down_since or time.monotonic()
            case JobRow():
                self.row = said
            case ErrorEvent():
                self.error = said

    @property
    def has_ended(self) -> bool:
        """Return True when its host has said so."""
        return self.row is not None

    @property
    def is_lost(self) -> bool:
        """Return True when its machine is gone, or took its job with it."""
        if self.row is None:
            return self.down_since is not None
        return self.row.state in ("lost", "preempted") or self.row.reason.startswith(BY_ITS_MACHINE)

    @property
    def is_stopped(self) -> bool:
        """Return True when it ended because somebody asked it to."""
        if self.row is None or self.is_lost or self._was_ended:
            return False
        return self.row.state == "stopped" and self.row.code in STOPPED

    @property
    def has_failed(self) -> bool:
        """Return True when it ended by its own fault, and not by the end of another part."""
        if self.row is None or self.is_lost or self.is_stopped or self._was_ended:
            return False
        return self.row.code not in (0, OTHER_HOST_GONE)

    @property
    def has_died(self) -> bool:
        """Return True when a process of it was killed, which may be tried again."""
        return self.has_failed and self.row is not None and (self.row.signal is not None or (self.row.code or 0) > DIED)

    def request(self, what: str) -> None:
        """Ask for what is done within a step. Raises HostUnreachable and what the host says."""
        self.host.jobs.request(self.job, what)

    def end(self) -> None:
        """End it by force where its host is heard."""
        if self.row is None and self.down_since is None:
            self._was_ended = True
            with suppress(EngineError):  # it is lost then, as far as this start is concerned
                self.host.jobs.stop(self.job, grace_s=STOP_TIMEOUT_S)

    def settle(self) -> None:
        """Have it ended before its job is started again. Raises HostUnreachable when nobody can say."""
        if self.row is None:
            with suppress(JobNotFound):
                self.host.jobs.stop(self.job, grace_s=STOP_TIMEOUT_S)

    def close(self) -> None:
        """Follow it no more."""
        self._follower.close()


def submit(host: ReadyHost, place: Place, spec: TrainSpec, *, is_again: bool, workspace: Workspace) -> Member:
    """Start a host's part. Asking again for the same start is the same job."""
    env = {PLACE: place.to_variable(), **({STARTED_AGAIN[0]: "1"} if is_again else {})}
    job = host.jobs.submit("train", spec, key=f"{place.run}-{host.name}", env=env, release=host.release)
    if host.name != LOCAL:
        Spool.of(workspace, host.name, job.job).mark_part_of(place.run.partition(".")[0])
    return Member(host, job.job, workspace)
