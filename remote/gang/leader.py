"""Who leads a job of several hosts: starts its parts, passes on what is asked, starts them again when one is lost.

It is a job like any other: its events are those of the first host's part, its log that of all of them. The parts train
on without it; what it does when a host is lost has to wait until it is there again.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass

from remote.errors import HostUnreachable, RemoteError
from remote.gang.log import GangLog
from remote.gang.member import Heard, Member, submit
from remote.gang.ready import ReadyHost, make_ready, places_of, require_hosts
from remote.hosts.backoff import Backoff
from remote.jobs.follow import LinkState, LogChunk
from remote.jobs.host_pool import HostPool
from remote.replies.job_row import JobRow
from t2v_core.errors import EngineError, InvalidRequest, Stopped, WorkFailed
from t2v_core.events import CheckpointEvent, DoneEvent, ErrorEvent, Event
from t2v_core.job import PAUSE_FILE, SAVE_FILE, STOP_FILE, Job
from t2v_core.specs import TrainSpec

POLL_S = 0.2
# Parts whose host is heard end within a minute of another one's end; then they are ended by force. One that failed by
# itself may have done so before the others knew of it.
END_GRACE_S, FAILED_GRACE_S = 60.0, 15.0
# How long a host may not be heard, or its start may fail, before those that are left go on without it.
RETURN_GRACE_S = 20.0
RETRY_S = 5.0
# Hosts that answer have done so by then; one that is off is tried for twice ten seconds.
ANSWER_S = 5.0
# A job that loses hosts again and again and gets nowhere is ended.
FRUITLESS = 3


@dataclass(frozen=True)
class GangRequest:
    """hosts: the first one holds events and checkpoints; fewest: hosts that are enough to go on with"""

    hosts: tuple[str, ...]
    fewest: int

    def __post_init__(self) -> None:
        """Raise InvalidRequest for more hosts than there are."""
        if not 1 <= self.fewest <= len(self.hosts):
            raise InvalidRequest(
                f"--min-hosts = {self.fewest}, and --hosts names {len(self.hosts)}",
                f"a number from 1 to {len(self.hosts)}; without it all are needed",
            )


class Leader:
    """Leads one job; `run` ends with it, and raises by what it ended unless it is done."""

    def __init__(self, request: GangRequest, spec: TrainSpec, job: Job, pool: HostPool) -> None:
        self.request, self.spec, self.job, self.pool = request, spec, job, pool
        self.done: DoneEvent | None = None
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._log = GangLog(request.hosts[0])
        self._starts = self._deaths = self._fruitless = 0
        self._has_checkpoint = False
        self._passed_on: set[str] = set()
        self._before: list[Member] = []
        self._lost: set[str] = set()
        self._lost_at = 0.0  # monotonic time since which one of them is missing

    def run(self) -> DoneEvent:
        """Lead it to its end."""
        while True:
            members = self._started()
            try:
                self._watch(members)
            finally:
                for member in members:
                    member.close()
                self._log.end()
            if members[0].row is not None and members[0].row.state == "succeeded":
                return self.done or DoneEvent(0.0)
            self._judge(members)

    def _started(self) -> list[Member]:
        """Start every part, as soon as there are hosts enough."""
        if self._starts == 0:
            return self._start_on(require_hosts(self._looked_at(self.request.hosts)))
        while True:
            try:
                return self._start_on(self._hosts_again())
            except RemoteError as error:  # one was lost once more, before it began
                self._told(f"not started yet: {error.message}")
                self._lost_at = time.monotonic()
                self._pause(RETRY_S)

    def _start_on(self, hosts: Sequence[ReadyHost]) -> list[Member]:
        for before in self._before:  # a host that was not heard may still be at an earlier start
            if any(host.name == before.name for host in hosts):
                before.settle()
        places = places_of(hosts, self.spec, f"{self.job.directory.name}.{self._starts}")
        members: list[Member] = []
        try:
            for host, place in zip(hosts, places, strict=True):
                is_again = self._starts > 0
                members.append(submit(host, place, self.spec, is_again=is_again, workspace=self.pool.workspace))
        except EngineError:
            for member in members:
                member.end()
            raise
        finally:
            self._starts += 1
            self._before = members
        self._passed_on.clear()
        self._has_checkpoint = False
        said = ", ".join(f"{member.job} on {member.name}" for member in members)
        self._told(f"{said}; they meet at {places[0].address}:{places[0].port}")
        for member in members:
            member.follow(self._heard)
        return members

    def _looked_at(self, names: Sequence[str]) -> list[ReadyHost | EngineError]:
        """Make hosts ready side by side; of each that is not, why. One that was lost is not waited for if others do."""

        def one(name: str) -> ReadyHost | EngineError:
            try:
                return make_ready(name, self.pool, self.spec, lambda host, said: self._told(f"{host}: {said}"))
            except EngineError as error:
                return error

        threads, began = ThreadPoolExecutor(8), time.monotonic()
        looks = {threads.submit(one, name): name for name in names}
        threads.shutdown(wait=False)
        while pending := {name for look, name in looks.items() if not look.done()}:
            wait(looks, POLL_S, FIRST_COMPLETED)
            is_over = pending <= self._lost and time.monotonic() - began > ANSWER_S
            if is_over and self._suffice([look.result() for look in looks if look.done()]):
                break
        late = HostUnreachable(f"no answer within {ANSWER_S:g} s", "it is off, or the network is")
        return [look.result() if look.done() else late for look in looks]

    def _told(self, sentence: str) -> None:
        self.job.events.stage("hosts", sentence)

    def _hosts_again(self) -> list[ReadyHost]:
        """Wait until all are back, or as many as are enough, the first among them: the checkpoints lie there."""
        names, backoff, told = self.request.hosts, Backoff(), ""
        while True:
            self.job.check_stop()
            found = self._looked_at(names)
            ready = [one for one in found if isinstance(one, ReadyHost)]
            if len(ready) == len(names):
                return ready
            has_first = bool(ready) and ready[0].name == names[0]
            if self._suffice(found):
                self.job.events.warning(f"training continues with {', '.join(one.name for one in ready)} alone")
                return ready
            told = self._say_missing(dict(zip(names, found, strict=True)), told, has_first=has_first)
            self._pause(backoff.next_s())

    def _suffice(self, found: Sequence[object]) -> bool:
        """Tell whether those that are ready go on alone: enough, the first among them, the others away for long."""
        ready = [one.name for one in found if isinstance(one, ReadyHost)]
        is_late = time.monotonic() - self._lost_at > RETURN_GRACE_S
        return is_late and self.request.hosts[0] in ready and len(ready) >= self.request.fewest

    def _say_missing(self, found: dict[str, ReadyHost | EngineError], told: str, *, has_first: bool) -> str:
        missing = [name for name, one in found.items() if isinstance(one, EngineError)]
        why = next(one.message for one in found.values() if isinstance(one, EngineError))
        sentence = f"waiting for {' and '.join(missing)}: {why}"
        if not has_first:
            sentence += f"; the checkpoints lie on {self.request.hosts[0]}"
        if sentence != told:
            self._told(sentence)
        return sentence

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.job.check_stop()
            time.sleep(POLL_S)

    def _watch(self, members: Sequence[Member]) -> None:
        """Follow all parts until each has ended, or its host is not heard while the others have."""
        ended_at: float | None = None
        while True:
            self._take(members)
            self._pass_on_requests(members[0])
            left = [member for member in members if not member.has_ended]
            if not left:
                return
            if len(left) < len(members):
                ended_at = ended_at or time.monotonic()
                if all(member.down_since is not None for member in left):
                    return
                grace_s = FAILED_GRACE_S if any(member.has_failed for member in members) else END_GRACE_S
                if time.monotonic() - ended_at > grace_s:
                    for member in left:
                        member.end()
                    ended_at = time.monotonic()

    def _take(self, members: Sequence[Member]) -> None:
        """What came from the parts, for a moment; of an earlier start nothing counts any more."""
        try:
            heard = self._heard.get(timeout=POLL_S)
        except queue.Empty:
            return
        member, said = heard.member, heard.said
        if member not in members:
            return
        was_down = member.down_since is not None
        member.note(said)
        match said:
            case LogChunk():
                self._log.write(member.name, said.data)
            case LinkState() if not said.is_up and not was_down:
                self.job.events.warning(f"{member.name} is not heard: {said.why}; its part may go on alone")
            case LinkState() if said.is_up and was_down:
                self._told(f"{member.name} is heard again")
            case Event() if member is members[0]:
                self._relay(said)
            case JobRow():
                self._log.end(member.name)

    def _relay(self, event: Event) -> None:
        """What the first part says is what the job says, but for its end."""
        if isinstance(event, DoneEvent):
            self.done = event
        elif not isinstance(event, ErrorEvent):
            self._has_checkpoint = self._has_checkpoint or isinstance(event, CheckpointEvent)
            self.job.events.emit(event)

    def _pass_on_requests(self, first: Member) -> None:
        """What is asked of the job is asked of the first part, whose processes agree about it with all others."""
        directory = self.job.directory
        if self.job.stop_request() is not None and STOP_FILE not in self._passed_on:
            self._ask(first, STOP_FILE)
        if (directory / SAVE_FILE).exists() and self._ask(first, SAVE_FILE, again=True):
            (directory / SAVE_FILE).unlink(missing_ok=True)
        is_paused = (directory / PAUSE_FILE).exists()
        if is_paused and PAUSE_FILE not in self._passed_on:
            self._ask(first, PAUSE_FILE)
        elif not is_paused and PAUSE_FILE in self._passed_on and self._ask(first, "resume"):
            self._passed_on -= {PAUSE_FILE, "resume"}

    def _ask(self, first: Member, what: str, *, again: bool = False) -> bool:
        """Ask; returns whether it was heard. A host that is not heard is asked later."""
        if first.has_ended or first.down_since is not None:
            return False
        try:
            first.request(what)
        except EngineError as error:
            self._told(f"{first.name} was not asked to {what}: {error.message}")
            return False
        if not again:
            self._passed_on.add(what)
        return True

    def _judge(self, members: Sequence[Member]) -> None:
        """Return when the parts are to be started again; raises by what the job ended else."""
        if (asked := self.job.stop_request()) is not None or any(member.is_stopped for member in members):
            raise self._stopped(members, asked)
        for member in members:
            if member.has_failed and not member.has_died:
                raise _failure(member)
        died = [member for member in members if member.has_died]
        if died:
            self._deaths += 1
            if self._deaths > self.spec.max_restarts:
                raise _failure(died[0])
        self._fruitless = 0 if self._has_checkpoint else self._fruitless + 1
        self._lost_at = min([time.monotonic(), *(member.down_since for member in members if member.down_since)])
        lost = [member.name for member in members if member.is_lost]
        self._lost = set(lost)
        what = f"{' and '.join(lost)} was lost" if lost else _why(died or members)
        if self._fruitless >= FRUITLESS:
            raise WorkFailed(
                f"{what}, and for the {FRUITLESS} times before there was no new checkpoint in between",
                "save more often (--checkpoint-every), and look at the hosts: t2v doctor --host NAME",
            )
        self.job.events.warning(f"{what}; the hosts start again from the last checkpoint")

    def _stopped(self, members: Sequence[Member], asked: Stopped | None) -> Stopped:
        said = next((one.row for one in members if one.is_stopped and one.row is not None), None)
        code = asked.exit_code if asked is not None else (said.code if said is not None else None) or 4
        if said is None:
            return Stopped("stopped on request", exit_code=code)
        return Stopped(said.reason, said.hint, exit_code=code)


def _why(members: Sequence[Member]) -> str:
    """In words, why parts ended that were started together."""
    return "; ".join(f"{one.name}: {one.row.reason}" for one in members if one.row is not None)


def _failure(member: Member) -> EngineError:
    row = member.row
    assert row is not None
    kind = InvalidRequest if row.code == InvalidRequest.exit_code else WorkFailed
    error = kind(f"{member.name}: {row.reason}", row.hint or f"t2v logs {row.job} --host {member.name}")
    error.exit_code = row.exit_code
    return error
