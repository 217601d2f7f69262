"""A push from its plan to the last file that got its name on the host; it can be left and gone on with at any time."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from remote.agent.transfer.parts import Interval, missing
from remote.errors import Corrupt, HostUnreachable
from remote.hosts.agent_client import Channel, ReplyLines
from remote.hosts.host import Host
from remote.jobs.client import HostJobs
from remote.replies.questions import BEGIN, REMOVE_GONE, WANT
from remote.replies.transfer import RangeGot
from remote.text import shown
from remote.transfer.board import Board
from remote.transfer.landings import Landings
from remote.transfer.links.bulk_host import BulkHost
from remote.transfer.outgoing import Outgoing
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.pull_plan import SUMS_TIMEOUT_S
from remote.transfer.plan.push_plan import CODE, PushPlan, plan_files
from remote.transfer.progress import Phase, TransferProgress
from remote.transfer.ranges import Range, RangeQueue, Request, Sizes, requests_for
from remote.transfer.streams import MOST_STREAMS, SILENCE_S, Stream, Streams
from remote.transfer.turn import Turn

PIECE_BYTES = 1024 * 1024
TICK_S, ROW_S, LAST_WORD_S = 0.02, 0.25, 2.0
ATTEMPTS = 3


class PushStream(Stream):
    """Takes ranges that are to be sent; one request is on its way while the one before is acknowledged."""

    mode = "receive"

    def __init__(self, host: Host | BulkHost, ranges: RangeQueue[Outgoing], pushing: Pushing) -> None:
        super().__init__(host, ranges, pushing.board)
        self.pushing, self.landings = pushing, pushing.landings

    def _converse(self, channel: Channel) -> None:
        lines, unheard = ReplyLines(channel, silence_s=SILENCE_S), deque[Request[Outgoing]]()
        channel.write(json.dumps({"workspace": self.host.workdir}).encode() + b"\n")
        try:
            while True:
                request = self.ranges.take(is_waiting=not unheard)
                if request:
                    unheard.append(request)
                    for one in request:
                        self._pour(channel, one)
                elif not unheard:
                    return
                if not request or len(unheard) > 1:
                    self._hear(lines, unheard[0])
                    unheard.popleft()
                    self.ranges.finished()
        except HostUnreachable:
            self._why_it_ended(lines)
            raise
        finally:
            for request in unheard:
                self.ranges.give_back(self.pushing.left_of(request))

    def _pour(self, channel: Channel, one: Range[Outgoing]) -> None:
        """A range as it is in the file now; one that has become shorter is filled up, and its sha256 will not fit."""
        row = one.file.file.row(self.pushing.plan.kind, self.pushing.by) | {
            "offset": one.begin, "n": one.end - one.begin, "lands": one.file.is_small,
        }  # fmt: skip
        if not one.file.is_small:
            self.landings.land(one.file)
        channel.write(json.dumps(row).encode() + b"\n")
        descriptor = os.open(self.pushing.root / one.file.file.path, os.O_RDONLY)
        try:
            place = one.begin
            while place < one.end:
                size = channel.write_from(descriptor, place, min(PIECE_BYTES, one.end - place))
                if not size:
                    size = min(PIECE_BYTES, one.end - place)
                    channel.write(bytes(size))
                self.board.moved(size)
                place += size
        finally:
            os.close(descriptor)

    def _hear(self, lines: ReplyLines, request: Request[Outgoing]) -> None:
        """The answers to all ranges of a request."""
        while request:
            got = self._line(lines, RangeGot)
            one = request.pop(0)
            self._went_well()
            if got.why:
                self.landings.again(one.file, shown(got.why))
            elif one.file.is_small:
                self.landings.landed(one.file)
            else:
                one.file.arrived()

    def _why_it_ended(self, lines: ReplyLines) -> None:
        """The agent says so before it ends, as when its disk is full. Raises what it said."""
        lines.silence_s = LAST_WORD_S
        with suppress(HostUnreachable):
            while True:
                self._line(lines, RangeGot)


class Pushing:
    """Iterate over it: how it stands a few times a second, each file as it lands there, sentences, in the end ENDED.

    A lost link is looked for again and again. What was written to while it was sent is sent again, three times at most.
    Raises DiskFull, Corrupt, and what the host says is wrong; AuthFailed and HostKeyRefused at any time.
    """

    def __init__(
        self, jobs: HostJobs, plan: PushPlan, *, sizes: Sizes | None = None, most_streams: int = MOST_STREAMS
    ) -> None:
        self.jobs, self.plan, self.sizes, self.most_streams = jobs, plan, sizes or Sizes(), most_streams
        self.root, self.by = jobs.workspace.root, jobs.identity.get("id", "")
        self.board = Board(plan.to_send, len(plan.needed))
        self.landings = Landings(jobs, plan.kind, self.board)
        self._turn = Turn(jobs.workspace, f"t2v push to {plan.host}")

    def close(self) -> None:
        """End the iteration; any thread may. What arrived is kept there, and the next push goes on with it."""
        self.board.closed.set()

    def __iter__(self) -> Iterator[TransferProgress]:
        self.plan.require_space()
        try:
            while holder := self._turn.take():
                yield self.board.row(Phase.WAITING, note=f"waits for {holder}")
                if self.board.closed.wait(ROW_S):
                    return
            began = time.monotonic()
            yield from self._attempts()
            if self.board.closed.is_set():
                return
            if self.plan.kind == CODE and self.plan.gone:
                for path in self.jobs.ask(REMOVE_GONE, timeout_s=60.0, paths=list(self.plan.gone)).removed:
                    yield self.board.row(
                        Phase.NOTE, note=f"{shown(path)} was pushed earlier and deleted here: removed there"
                    )
            ArrivedFiles(self.jobs.workspace, self.plan.host).keep_rate(
                self.board.done_bytes, time.monotonic() - began, "up"
            )
            yield self.board.row(Phase.ENDED)
        finally:
            self._turn.give()

    def _attempts(self) -> Iterator[TransferProgress]:
        plan = self.plan
        for attempt in range(1, ATTEMPTS + 1):
            yield from self._round(plan)
            failed = self.landings.failed
            if not failed or self.board.closed.is_set():
                return
            path, why = next(iter(failed.items()))
            if attempt == ATTEMPTS:
                raise Corrupt(
                    f"{shown(path)}: {why}, each of {ATTEMPTS} times", "push again once nothing is writing to it"
                )
            yield self.board.row(Phase.NOTE, note=f"{shown(path)}: {why}; it is sent again")
            plan = plan_files(self.jobs, self.plan.kind, list(failed), is_replacing=True, sends_all=True)
            self.board.expect(plan.to_send, len(plan.needed))

    def _round(self, plan: PushPlan) -> Iterator[TransferProgress]:
        every = [Outgoing(file, there, self.sizes) for file, there in plan.needed]
        files = [one for one in every if one.file.path not in plan.copies]
        if big := [one.file.row(plan.kind, self.by) for one in files if not one.is_small]:
            self.jobs.ask(BEGIN, files=big)
        self.landings = Landings(self.jobs, plan.kind, self.board)
        self.landings.expect(files, [one for one in every if one.file.path in plan.copies])
        ranges = RangeQueue(requests_for(files, self.sizes))
        streams = Streams(
            self.jobs.host, ranges, self.board, lambda host: PushStream(host, ranges, self), most=self.most_streams
        )
        try:
            for one in files:
                if not one.left:  # all of it came before, and only its name is missing
                    self.landings.land(one)
            if not ranges.is_over:
                streams.start(plan.to_send)
            yield from self._watched(streams)
        finally:
            streams.close()
        yield from self.board.said()
        if self.board.error is not None:
            raise self.board.error

    def _watched(self, streams: Streams) -> Iterator[TransferProgress]:
        row_t = 0.0
        while not self.landings.is_done and not self.board.closed.wait(TICK_S):
            yield from self.board.said()
            if time.monotonic() - row_t >= ROW_S:
                row_t = time.monotonic()
                self.board.sample()
                streams.look()
                yield self.board.row()

    # What the streams say

    def left_of(self, request: Request[Outgoing]) -> Request[Outgoing]:
        """Return what of a request has not arrived, as the host says.

        A link that broke may have brought much of it.
        """
        left: Request[Outgoing] = []
        for one in request:
            if one.file.is_over:
                continue
            if one.file.is_small or self.board.closed.is_set():
                left.append(one)
                continue
            gaps = self._gaps(one)
            one.file.arrived(1 - len(gaps))
            left += [Range(one.file, begin, end) for begin, end in gaps]
        self.board.undone(sum(one.end - one.begin for one in left))
        return left

    def _gaps(self, one: Range[Outgoing]) -> list[Interval]:
        rows = [one.file.file.row(self.plan.kind, self.by)]
        with suppress(HostUnreachable):
            said = self.jobs.ask(WANT, timeout_s=SUMS_TIMEOUT_S, kind=self.plan.kind, files=rows, is_replacing=True)
            there = said.needed[0].there if said.needed else ()
            outside = [(0, one.begin), (one.end, one.file.size)]
            return missing([*there, *outside], one.file.size, self.sizes.range_bytes)
        return [(one.begin, one.end)]
