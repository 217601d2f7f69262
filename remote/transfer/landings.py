"""What was sent gets its name on the host: checked while it comes, or copied from what lies there already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from remote.jobs.client import HostJobs
from remote.replies.question import Question
from remote.replies.questions import COPY, LAND
from remote.replies.transfer import Landed
from remote.text import shown
from remote.transfer.board import Board
from remote.transfer.outgoing import Outgoing
from remote.transfer.plan.pull_plan import SLOW_HASH_BYTES_PER_S, SUMS_TIMEOUT_S

PATIENCE_S = 1e6  # a link is looked for as long as somebody waits
MORE_PATIENCE_S = 5.0  # so long the host waits for more of a file before it answers how far it is


class Landings:
    """Of one round of a push. Every method may be called by any thread.

    failed: why files have to be sent again, by their paths
    """

    def __init__(self, jobs: HostJobs, kind: str, board: Board) -> None:
        self.jobs, self.kind, self.board = jobs, kind, board
        self.failed: dict[str, str] = {}
        self._left = 0
        self._seconds: dict[str, list[Outgoing]] = {}
        self._lock = threading.Lock()

    def expect(self, sent: Sequence[Outgoing], copies: Sequence[Outgoing]) -> None:
        """Wait for these, and have the copies made of what lies there; of what is sent, once that has landed."""
        self._left = len(sent) + len(copies)
        to_come = {one.file.sha256 for one in sent}
        for one in copies:
            if one.file.sha256 in to_come:
                self._seconds.setdefault(one.file.sha256, []).append(one)
        self._start(self._copy, [one for one in copies if one.file.sha256 not in to_come])

    @property
    def is_done(self) -> bool:
        """Tell whether every file has landed, or has to be sent again."""
        return self._left == 0

    def land(self, one: Outgoing) -> None:
        """Have a file checked there as it comes, and given its name once it is whole; asked once of each file."""
        with self._lock:
            is_first, one.is_landing = not one.is_landing, True
        if is_first:
            self._start(self._land, [one])

    def _start(self, work: Callable[[Outgoing], None], files: Sequence[Outgoing]) -> None:
        if files:
            threading.Thread(target=self._each, args=(work, files), name="landing", daemon=True).start()

    def _each(self, work: Callable[[Outgoing], None], files: Sequence[Outgoing]) -> None:
        try:
            for one in files:
                if not self.board.closed.is_set():
                    work(one)
        except Exception as error:  # noqa: BLE001 - whoever waits for it learns it from the board
            if not self.board.closed.is_set():
                self.board.fail(error)

    def _land(self, one: Outgoing) -> None:
        checked = 0
        while not (one.is_over or self.board.closed.is_set()):
            is_all_sent = not one.left  # before it is asked: then what is missing there will not come
            said = self._ask(LAND, one, patience_s=MORE_PATIENCE_S)
            if said.is_landed:
                self.landed(one)
            elif is_all_sent and said.checked <= checked:
                self.again(one, shown(said.why))
            checked = said.checked

    def _copy(self, one: Outgoing) -> None:
        said = self._ask(COPY, one)
        self.landed(one) if said.is_landed else self.again(one, shown(said.why))

    def _ask(self, question: Question[Landed], one: Outgoing, **more: float) -> Landed:
        timeout_s = SUMS_TIMEOUT_S + one.size / SLOW_HASH_BYTES_PER_S
        row = one.file.row(self.kind, self.jobs.identity.get("id", ""))
        return self.jobs.ask(question, PATIENCE_S, timeout_s, file=row, **more)

    def landed(self, one: Outgoing) -> None:
        """Count a file as landed, and say so; those with the same bytes are copied from it."""
        if self._is_news(one):
            self.board.verified()
            self.board.landed(one.file.path)
            self._start(self._copy, self._seconds.pop(one.file.sha256, []))
            self._count()

    def again(self, one: Outgoing, why: str) -> None:
        """Note why a file has to be sent again, and those with the same bytes; it is over for this round."""
        if self._is_news(one):
            self.failed[one.file.path] = why
            for second in self._seconds.pop(one.file.sha256, []):
                self.again(second, why)
            self._count()

    def _is_news(self, one: Outgoing) -> bool:
        with self._lock:
            is_news, one.is_over = not one.is_over, True
        return is_news

    def _count(self) -> None:
        """Only then may somebody stop waiting."""
        with self._lock:
            self._left -= 1
