"""Following a job across lost links: every byte of its log and events once and in order, and how the link is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from remote.errors import AgentError, AuthFailed, HostKeyRefused, HostUnreachable
from remote.hosts.agent_client import SILENCE_S, Channel, frames
from remote.hosts.backoff import Backoff
from remote.hosts.host import Host
from remote.jobs.spool import EVENTS, LOG, Spool
from remote.replies.job_row import ALIVE, JobRow
from remote.replies.jobs import FollowedBytes, FollowedEnd
from remote.replies.question import bad_reply, read_reply
from t2v_core.disk.plain_json import Cutter
from t2v_core.events import Event


@dataclass(frozen=True)
class LogChunk:
    """Bytes of the log as they were written.

    offset: of the first of them, from the beginning of the job
    """

    offset: int
    data: bytes


@dataclass(frozen=True)
class LinkState:
    """Whether the host is heard; nothing about the job, of which only `last` is known.

    since: Unix time in seconds, by this machine's clock
    why:   the link is down
    last:  what was known of the job when it was heard of last
    """

    is_up: bool
    since: float
    why: str = ""
    last: JobRow | None = None


Said = LogChunk | Event | LinkState | JobRow


class Follower:
    """Iterate over it: what the spool holds already, then what comes, last the row of the ended job.

    since:     no LogChunk from before this byte of the log; the spool gets every byte all the same
    silence_s: without a word for so long, the link is lost; the agent speaks every 3 s

    A lost link is looked for again and again, also after this machine slept; each change is a LinkState. Raises
    HostUnreachable only when the host cannot be reached at the beginning, AuthFailed and HostKeyRefused at any time,
    JobNotFound or AgentError when the host cannot do it, EngineError when the spool cannot be written.
    """

    def __init__(self, host: Host, job: str, spool: Spool, *, since: int = 0, silence_s: float = SILENCE_S) -> None:
        self.host, self.job, self.spool = host, job, spool
        self.since, self.silence_s = since, silence_s
        self._place = {LOG: 0, EVENTS: 0}
        self._cutter = Cutter()
        self._last_event: Event | None = None
        self._channel: Channel | None = None
        self._closed = threading.Event()
        self._backoff = Backoff()

    def close(self) -> None:
        """End the iteration; any thread may. The job goes on."""
        self._closed.set()
        if (channel := self._channel) is not None:
            channel.close()

    def __iter__(self) -> Iterator[Said]:
        yield from self._kept()
        is_first, lost_t = True, 0.0
        while not self._closed.wait(0.0 if is_first else self._backoff.next_s()):
            try:
                self._channel = self.host.open(["follow"])
                yield LinkState(is_up=True, since=time.time())
                is_first, lost_t = False, 0.0
                yield from self._heard(self._channel)
                return
            except HostUnreachable as error:
                if self._closed.is_set():
                    return
                if isinstance(error, AuthFailed | HostKeyRefused) or is_first:
                    raise
                if not lost_t:
                    lost_t = time.time()
                    yield LinkState(is_up=False, since=lost_t, why=error.message, last=self._last_known())
            except (OSError, ValueError):
                if not self._closed.is_set():  # else it is about a file descriptor that was closed under its reader
                    raise
            finally:
                if self._channel is not None:
                    self._channel.close()

    def _kept(self) -> Iterator[Said]:
        """What came before."""
        for name in (EVENTS, LOG):
            for offset, data in self.spool.read(name, 0, self.spool.size(name)):
                self._place[name] = offset + len(data)
                yield from self._said(name, offset, data)

    def _heard(self, channel: Channel) -> Iterator[Said]:
        """What one connection brings, until the job has ended or the link is lost."""
        parameters = {"workspace": self.host.workdir, "job": self.job, "files": dict(self._place)}
        for header, data in frames(channel, parameters, silence_s=self.silence_s):
            self._backoff.reset()
            if data:
                bytes_ = read_reply(FollowedBytes, header, self.host.name, "follow")
                yield from self._take(bytes_.file, bytes_.offset, data)
            elif "end" in header:
                row = read_reply(FollowedEnd, header, self.host.name, "follow").end
                self.spool.keep(row)
                yield row

    def _take(self, name: str, offset: int, data: bytes) -> Iterator[Said]:
        if name not in self._place:
            raise bad_reply(self.host.name, "follow", f"it has bytes of an unknown file of {self.job}")
        if offset != self._place[name]:
            raise AgentError(
                f"{self.host.name} sent byte {offset} of the {name} of {self.job}; {self._place[name]} was next",
                hint=f"remove {self.spool.directory} and follow it again",
            )
        self.spool.write(name, offset, data)
        self._place[name] += len(data)
        yield from self._said(name, offset, data)

    def _said(self, name: str, offset: int, data: bytes) -> Iterator[Said]:
        if name == LOG:
            if offset + len(data) > self.since:
                skipped = max(0, self.since - offset)
                yield LogChunk(offset + skipped, data[skipped:])
            return
        for line in self._cutter.take(data):
            if (event := Event.from_line(line)) is not None:
                self._last_event = event
                yield event

    def _last_known(self) -> JobRow | None:
        """The spool's row, brought up to date by what was heard since."""
        known = self.spool.known()
        if known is None or self._last_event is None:
            return None if known is None else known.row
        state = "running" if known.row.state in ALIVE else known.row.state
        row = replace(known.row, state=state, last_event=self._last_event.to_table())
        self.spool.keep(row)
        return row


def fetch_log(host: Host, job: str, spool: Spool, until: int, *, since: int = 0) -> Iterator[LogChunk]:
    """Yield the log from byte `since` to `until`, which the host has.

    Raises as `Follower`, and HostUnreachable on a cut.
    """
    follower = Follower(host, job, spool, since=since)
    reached, heard = since, iter(follower if since < until else ())
    try:
        while reached < until and (said := next(heard, None)) is not None:
            if isinstance(said, LinkState) and not said.is_up:
                raise HostUnreachable(said.why, "what came by then is kept")
            if isinstance(said, LogChunk):
                yield said
                reached = said.offset + len(said.data)
    finally:
        follower.close()
