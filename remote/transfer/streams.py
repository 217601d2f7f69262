"""Ranges over several SSH connections at once: as many as make it quicker, each made again when it was lost.

One connection brings 30 MB/s at a round trip of 50 ms, whoever sends: that is the window of OpenSSH's server.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import Any

from remote.agent_client import Channel, Lines, error_of
from remote.backoff import Backoff
from remote.errors import AuthFailed, HostKeyRefused, HostUnreachable, TransferFailed
from remote.hosts import Host
from remote.transfer.arrivals import Arrivals
from remote.transfer.board import Board
from remote.transfer.names import shown
from remote.transfer.ranges import Range, RangeQueue, Request

WINDOW_BYTES = 8 * 1024 * 1024
MOST_STREAMS, FIRST_STREAMS = 8, 4
# Below that a connection of its own costs more than it brings.
ALONE_BYTES = 2 * 1024 * 1024
WORTH_BYTES = 8 * 1024 * 1024
SILENCE_S = 30.0  # a disk there may take its time; that the link holds is asked on its own
ASKED_AHEAD = 2
# A stream is added when the one before made the whole quicker by so much.
GROWTH, LOOK_S = 1.06, 1.5
NEIGHBOUR_S, MISSES = 3.0, 3


class Stream:
    """One connection in a thread of its own, which takes requests until there are none."""

    def __init__(self, host: Host, ranges: RangeQueue, arrivals: Arrivals, board: Board) -> None:
        self.host, self.ranges, self.arrivals, self.board = host, ranges, arrivals, board
        self._channel: Channel | None = None
        self._misses = 0
        self.board.stream(+1)
        threading.Thread(target=self._run, name="stream", daemon=True).start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - whoever waits for it learns it from the board
            if not self.board.closed.is_set():
                self.board.fail(error)
        finally:
            self.board.found(id(self))
            self.board.stream(-1)

    def _work(self) -> None:
        backoff = Backoff()
        while not self.ranges.is_over and not self.board.closed.wait(backoff.next_s()):
            try:
                self._channel = self.host.open(["send"])
                self.board.found(id(self))
                self._converse(self._channel, backoff)
                return
            except (AuthFailed, HostKeyRefused):
                raise
            except HostUnreachable as error:
                self._misses += 1
                if self.board.closed.is_set() or self._is_unwanted():
                    return
                self.board.lost(id(self), error.message)
            finally:
                self._close_channel()

    def _is_unwanted(self) -> bool:
        """Others bring bytes and this one does not: the host takes no more connections."""
        is_alone = self.board.streams <= 1
        return self._misses >= MISSES and not is_alone and time.monotonic() - self.board.moved_t < NEIGHBOUR_S

    def _converse(self, channel: Channel, backoff: Backoff) -> None:
        """Ask one request ahead, so that the other side never waits for the next."""
        lines, asked = Lines(channel, silence_s=SILENCE_S), deque[Request]()
        channel.write(json.dumps({"workspace": self.host.workdir}).encode() + b"\n")
        try:
            while True:
                while len(asked) < ASKED_AHEAD and (request := self.ranges.take(is_waiting=not asked)):
                    asked.append(request)
                    channel.write(json.dumps({"ranges": [asking(one) for one in request]}).encode() + b"\n")
                if not asked:
                    return
                while asked[0]:
                    self._take_range(lines, asked[0])
                    backoff.reset()
                    self._misses = 0
                asked.popleft()
                self.ranges.finished()
        finally:
            for request in asked:
                self.ranges.give_back(request)

    def _take_range(self, lines: Lines, request: Request) -> None:
        """The answer to the first range of a request, which is taken off when it is dealt with."""
        one, incoming = request[0], request[0].incoming
        header = self._line(lines)
        if "changed" in header:
            request.pop(0)
            self.arrivals.again(incoming, shown(str(header.get("why"))))
            return
        if header.get("n") != one.end - one.begin:
            raise TransferFailed(f"{self.host.name} sent other bytes than it was asked for", "run it again")
        began = one.begin
        try:
            for piece in lines.pieces(one.end - one.begin):
                self.arrivals.take(incoming, one.begin, piece)
                one.begin += len(piece)
            said = self._line(lines)
        except HostUnreachable:
            one.begin = self.arrivals.broke_off(incoming, began, one.begin)
            raise
        request.pop(0)
        if said.get("is_same") is not True:
            self.arrivals.again(incoming, "it was written to while it was read")
        elif incoming.is_small:
            self.arrivals.took_small(incoming, said.get("sha256"))
        else:
            self.arrivals.took_range(incoming, began, one.end)

    def _line(self, lines: Lines) -> dict[str, Any]:
        line = lines.line()
        if "error" in line:
            raise error_of(line["error"])
        return line

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def close(self) -> None:
        """Whatever it waits for ends."""
        self._close_channel()


def asking(one: Range) -> dict[str, Any]:
    """A range as the agent's `send` takes it."""
    file = one.incoming.file
    return {
        "path": one.incoming.far_path, "offset": one.begin, "n": one.end - one.begin, "size": file.size,
        "mtime_ns": file.mtime_ns, "inode": file.inode, "digest": one.incoming.is_small,
    }  # fmt: skip


def first_streams(to_send: int) -> int:
    """How many to begin with."""
    return max(1, min(FIRST_STREAMS, to_send // WORTH_BYTES))


class Growth:
    """When one more stream is worth it: as long as the one before made the whole quicker."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self.most = most
        self._best = 0.0
        self._looked_t, self._looked_bytes = time.monotonic(), 0
        self._is_over = False

    def wants_one(self, streams: int, done_bytes: int, now: float | None = None) -> bool:
        """streams: at work; done_bytes: so far, by all of them"""
        now = time.monotonic() if now is None else now
        if self._is_over or now - self._looked_t < LOOK_S:
            return False
        rate = (done_bytes - self._looked_bytes) / (now - self._looked_t)
        self._looked_t, self._looked_bytes = now, done_bytes
        if rate < self._best * GROWTH or streams >= self.most:
            self._is_over = rate > 0
            return False
        self._best = rate
        return rate > 0


class Streams:
    """Brings requests over a growing number of connections; the `ssh` way of a transfer.

    most: connections at the same time
    """

    def __init__(
        self, host: Host, ranges: RangeQueue, arrivals: Arrivals, board: Board, *, most: int = MOST_STREAMS
    ) -> None:
        self.host, self.ranges, self.arrivals, self.board = host, ranges, arrivals, board
        self._streams: list[Stream] = []
        self._twins: list[Host] = []
        self._growth, self._most = Growth(most), most

    def start(self, to_send: int) -> None:
        if to_send <= ALONE_BYTES:
            self._streams.append(Stream(self.host, self.ranges, self.arrivals, self.board))
            return
        for _ in range(min(self._most, first_streams(to_send))):
            self._add()

    def _add(self) -> None:
        twin = self.host.twin(WINDOW_BYTES)
        self._twins.append(twin)
        self._streams.append(Stream(twin, self.ranges, self.arrivals, self.board))

    def look(self) -> None:
        """To be called now and then while bytes come."""
        if not self.board.streams and not self.ranges.is_over:
            self._add()
        if (
            self._twins
            and self.ranges.has_waiting
            and self._growth.wants_one(self.board.streams, self.board.done_bytes)
        ):
            self._add()

    def close(self) -> None:
        self.ranges.close()
        for stream in self._streams:
            stream.close()
        for twin in self._twins:
            twin.close()
