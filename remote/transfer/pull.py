"""A pull from its plan to the last renamed file, as rows of how it stands; it can be left and gone on with."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from remote.agent.transfer.parts import journal_path, part_path
from remote.errors import Corrupt, Refused, SourceChanged, TransferFailed
from remote.jobs.client import HostJobs
from remote.text import shown
from remote.transfer.arrivals import Arrivals
from remote.transfer.board import Board
from remote.transfer.carriers.programs import NOT_BROUGHT
from remote.transfer.carriers.ways import SSH, Carries, carrier, way_of
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.pull_plan import Plan, plan_pull
from remote.transfer.progress import Phase, TransferProgress
from remote.transfer.ranges import Sizes
from remote.transfer.streams import MOST_STREAMS
from remote.transfer.turn import Turn

TICK_S = 0.02
ROW_S = 0.25
ATTEMPTS = 3
NOTHING_SMALL = -1  # other programs write files, and every file is verified from the disk


class Pulling:
    """Iterate over it: how it stands a few times a second, each unit as it lands, sentences, and in the end ENDED.

    A lost link is looked for again and again. What was written to while it was read, or did not arrive as it was sent,
    is begun again, three times at most; everything else goes on meanwhile. Raises DiskFull, Corrupt, SourceChanged,
    and what the host says is wrong; AuthFailed and HostKeyRefused at any time.

    sizes, most_streams: how files are cut, and over how many connections they come
    """

    def __init__(
        self, jobs: HostJobs, plan: Plan, *, sizes: Sizes | None = None, most_streams: int = MOST_STREAMS
    ) -> None:
        self.jobs, self.plan, self.sizes, self.most_streams = jobs, plan, sizes or Sizes(), most_streams
        self.board = Board(plan.to_send, sum(len(item.unit.files) for item in plan.needed))
        self._turn = Turn(jobs.workspace, f"t2v pull from {plan.host}")

    def close(self) -> None:
        """End the iteration; any thread may. What came is kept, and the next pull goes on with it."""
        self.board.closed.set()

    def __iter__(self) -> Iterator[TransferProgress]:
        self.plan.require_space(self.jobs.workspace)
        memory = ArrivedFiles(self.jobs.workspace, self.plan.host)
        try:
            yield from self._wait_for_turn()
            began, hopeless = time.monotonic(), dict[str, str]()
            for plan in self.plan.turns:
                yield from self._brought(plan, memory, hopeless)
                if self.board.closed.is_set():
                    return
            if hopeless:
                raise cannot_be_read(hopeless, self.plan.host)
            memory.keep_rate(self.board.done_bytes, time.monotonic() - began)
            yield self.board.row(Phase.ENDED)
        finally:
            memory.close()
            self._turn.give()

    def _wait_for_turn(self) -> Iterator[TransferProgress]:
        while holder := self._turn.take():
            yield self.board.row(Phase.WAITING, note=f"waits for {holder}")
            if self.board.closed.wait(ROW_S):
                return

    def _brought(self, plan: Plan, memory: ArrivedFiles, hopeless: dict[str, str]) -> Iterator[TransferProgress]:
        """All of a plan, what did not come right once more; hopeless: as of `_round`."""
        for attempt in range(1, ATTEMPTS + 1):
            failed = yield from self._round(plan, memory, hopeless)
            if self.board.closed.is_set() or not failed:
                return
            if attempt == ATTEMPTS:
                raise failure(failed)
            for path, why in failed.items():
                yield self.board.row(Phase.NOTE, note=f"{shown(path)}: {why}; starting it over")
            plan = yield from self._planned_again(list(failed))

    def _round(
        self, plan: Plan, memory: ArrivedFiles, hopeless: dict[str, str]
    ) -> Generator[TransferProgress, None, dict[str, str]]:
        """Everything that the plan says is needed, once. Returns what has to come again, and why.

        hopeless: is added what cannot come however often it is asked for
        """
        way, word = way_of(self.jobs, plan)
        arrivals = Arrivals(self.jobs, plan.needed, self.board, memory)
        incoming = arrivals.expect(self.sizes.small_bytes if way == SSH else NOTHING_SMALL, copies=way == SSH)
        carries = carrier(
            way, self.jobs, plan, incoming, arrivals, self.board, sizes=self.sizes, most_streams=self.most_streams
        )
        if word and plan.to_send:
            yield self.board.row(Phase.NOTE, note=word)
        try:
            arrivals.start([one for one in incoming if not one.is_small])
            if incoming:
                carries.start(plan.to_send)
            yield from self._watched(arrivals, carries)
        finally:
            carries.close()
            arrivals.stop()
            arrivals.settle(incoming)
        yield from self.board.said()
        if self.board.error is not None:
            raise self.board.error
        hopeless |= arrivals.hopeless
        return {path: why for path, why in arrivals.failed.items() if path not in hopeless}

    def _watched(self, arrivals: Arrivals, carries: Carries) -> Iterator[TransferProgress]:
        row_t = 0.0
        while not arrivals.is_done and not self.board.closed.wait(TICK_S):
            yield from self.board.said()
            if time.monotonic() - row_t >= ROW_S:
                row_t = time.monotonic()
                self.board.sample()
                carries.look()
                yield self.board.row()

    def _planned_again(self, paths: Sequence[str]) -> Generator[TransferProgress, None, Plan]:
        """What has to come again, as it is there now; what is there no more need not."""
        plan = replace(self.plan, items=())
        for path in paths:
            try:
                more = plan_pull(self.jobs, [path], is_replacing=True, is_anyones=self.plan.is_anyones)
                plan = replace(plan, items=plan.items + more.items)
            except Refused:
                yield self.board.row(Phase.NOTE, note=f"{shown(path)} was removed there meanwhile")
                discard_staging(self.jobs.workspace.root / path)
        self.board.expect(plan.to_send, sum(len(item.unit.files) for item in plan.needed))
        return plan


def cannot_be_read(hopeless: Mapping[str, str], host: str) -> TransferFailed:
    """Return the error for units that the host itself cannot read; everything else has come."""
    path, why = next(iter(hopeless.items()))
    others = f" (and {len(hopeless) - 1} more)" if len(hopeless) > 1 else ""
    return TransferFailed(
        f"{shown(path)}{others} cannot be read on {host}: {why}", "the rest has arrived; fix its permissions there"
    )


def failure(failed: Mapping[str, str]) -> TransferFailed:
    """Return the error for units that did not come right in three attempts."""
    path, why = next(iter(failed.items()))
    others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    if why.endswith(NOT_BROUGHT):
        return TransferFailed(f"{shown(path)}{others}: {why}", 'transfer = "ssh" in t2v.toml needs no other program')
    if "sha256" in why:
        return Corrupt(f"{shown(path)}{others}: {why}, each of {ATTEMPTS} times", "the file there may be damaged")
    return SourceChanged(
        f"{shown(path)}{others}: {why}, each of {ATTEMPTS} times", "pull again once nothing is writing to it"
    )


def discard_staging(target: Path) -> None:
    """Remove what came of something that is there no more."""
    shutil.rmtree(part_path(target), ignore_errors=True)
    for path in (part_path(target), journal_path(target)):
        path.unlink(missing_ok=True)
