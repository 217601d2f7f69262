"""The logs of a host's jobs into the spool here, where `t2v logs` reads them with the host switched off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

from remote.jobs.client import HostJobs
from remote.jobs.follow import Follower, LinkState
from remote.jobs.spool import EVENTS, LOG, Spool
from remote.replies.job_row import JobRow
from remote.transfer.board import Board
from remote.transfer.progress import Phase, TransferProgress


class PullingLogs:
    """Iterate over it, as over Pulling. What a running job writes from now on is not waited for.

    Raises HostUnreachable when the host cannot be reached at first, and what the agent says is wrong.
    """

    def __init__(self, jobs: HostJobs) -> None:
        self.jobs = jobs
        lacking = [(row, self._lack(row)) for row in jobs.rows()]
        self.rows = [row for row, lack in lacking if lack > 0]
        self.board = Board(sum(lack for _, lack in lacking if lack > 0), len(self.rows))
        self._closed = threading.Event()

    @property
    def to_send(self) -> int:
        """Return the bytes that have to come."""
        return self.board.total_bytes

    def _spool(self, row: JobRow) -> Spool:
        return Spool.of(self.jobs.workspace, self.jobs.host.name, row.job)

    def _lack(self, row: JobRow) -> int:
        """Bytes that are there and not here."""
        spool = self._spool(row)
        return max(0, row.log_bytes - spool.size(LOG)) + max(0, row.events_bytes - spool.size(EVENTS))

    def close(self) -> None:
        """End the iteration; any thread may."""
        self._closed.set()

    def __iter__(self) -> Iterator[TransferProgress]:
        done = 0
        for row in self.rows:
            began = self._lack(row)
            with closing(Follower(self.jobs.host, row.job, self._spool(row), since=row.log_bytes)) as follower:
                for said in follower:
                    left = self._lack(row)
                    self.board.done_bytes = done + began - left
                    self.board.sample()
                    if isinstance(said, LinkState) and not said.is_up:
                        yield self.board.row(Phase.NOTE, note=f"link: {said.why}; reconnecting")
                    if self._closed.is_set():
                        return
                    if not left:
                        break
                    yield self.board.row()
            done += began
            self.board.verified()
            yield self.board.row(Phase.LANDED, path=str(self._spool(row).log.relative_to(self.jobs.workspace.root)))
        yield self.board.row(Phase.ENDED)
