"""New outputs come home while work goes on there, until it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from remote.errors import AuthFailed, HostKeyRefused, HostUnreachable, Refused
from remote.jobs.client import HostJobs
from remote.transfer.board import Board
from remote.transfer.plan.pull_plan import Plan, plan_pull
from remote.transfer.progress import Phase, TransferProgress
from remote.transfer.pull import Pulling

POLL_S = 4.0


class Watching:
    """Iterate over it: what each pull says, without their ends; ends when no job is alive there and all is here.

    Asking costs a line each way while nothing is new. A host that is away is looked for again and again; raises
    HostUnreachable only when it cannot be reached at first, and whatever Pulling raises.
    """

    def __init__(self, jobs: HostJobs, what: Sequence[str], *, is_latest: bool = False, poll_s: float = POLL_S) -> None:
        self.jobs, self.what, self.is_latest, self.poll_s = jobs, list(what), is_latest, poll_s
        self._closed = threading.Event()
        self._pulling: Pulling | None = None
        self._is_away = False

    def close(self) -> None:
        """End the iteration; any thread may. What came is kept."""
        self._closed.set()
        if (pulling := self._pulling) is not None:
            pulling.close()

    def __iter__(self) -> Iterator[TransferProgress]:
        idle = Board(0, 0)
        is_first = True
        while not self._closed.is_set():
            try:
                # Asked before the files: what the last job wrote before it ended is then among them.
                is_over = all(row.has_ended for row in self.jobs.rows())
                plan = self._plan()
            except (AuthFailed, HostKeyRefused):
                raise
            except HostUnreachable as error:
                if is_first:
                    raise
                if not self._is_away:
                    yield idle.row(Phase.NOTE, note=f"link: {error.message}; reconnecting")
                self._is_away = True
                self._closed.wait(self.poll_s)
                continue
            if self._is_away:
                yield idle.row(Phase.NOTE, note="link: it is back")
            is_first = self._is_away = False
            yield from self._pulled(plan)
            if is_over:
                yield idle.row(Phase.ENDED)
                return
            self._closed.wait(self.poll_s)

    def _plan(self) -> Plan | None:
        """None as long as nothing of it is there."""
        try:
            return plan_pull(self.jobs, self.what, is_latest=self.is_latest)
        except Refused:
            return None

    def _pulled(self, plan: Plan | None) -> Iterator[TransferProgress]:
        if plan is None or not plan.needed:
            return
        self._pulling = Pulling(self.jobs, plan)
        for row in self._pulling:
            if row.phase is not Phase.ENDED:
                yield row
