"""Ranges over several SSH connections at once: as many as make it quicker, each made again when it was lost.

One connection brings 30 MB/s at a round trip of 50 ms, whoever sends: that is the window of OpenSSH's server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from remote.errors import AuthFailed, HostKeyRefused, HostUnreachable
from remote.hosts.agent_client import Channel, ReplyLines
from remote.hosts.backoff import Backoff
from remote.hosts.host import Host
from remote.replies.question import read_reply
from remote.transfer.board import Board
from remote.transfer.links.bulk_host import BulkHost, Programs
from remote.transfer.ranges import RangeQueue

R = TypeVar("R")
MOST_STREAMS, FIRST_STREAMS = 16, 8
# Below that a connection of its own costs more than it brings.
ALONE_BYTES = 2 * 1024 * 1024
HERE_BYTES = 64 * 1024 * 1024
WORTH_BYTES = 4 * 1024 * 1024
SILENCE_S = 30.0  # a disk there may take its time; that the link holds is asked on its own
# Half as many are added when those before made the whole quicker by so much: where packets are lost, each is slow.
GROWTH, LOOK_S = 1.15, 2.0
WORTH_S = 3.0  # a connection takes half a second at 50 ms
NEIGHBOUR_S, MISSES = 3.0, 3


class Stream:
    """One connection in a thread of its own, which takes requests until there are none.

    mode: of the agent
    """

    mode = ""

    def __init__(self, host: Host | BulkHost, ranges: RangeQueue[Any], board: Board) -> None:
        self.host, self.ranges, self.board = host, ranges, board
        self._channel: Channel | None = None
        self._backoff, self._misses = Backoff(), 0

    def start(self) -> None:
        """Start the thread, and count it on the board."""
        self.board.stream(+1)
        threading.Thread(target=self._run, name="stream", daemon=True).start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - whoever waits for it learns it from the board
            if not self._is_over:
                self.board.fail(error)
        finally:
            self.board.found(id(self))
            self.board.stream(-1)

    def _work(self) -> None:
        while not self._is_over and not self.board.closed.wait(self._backoff.next_s()):
            try:
                self._channel = self.host.open([self.mode])
                self.board.found(id(self))
                self._converse(self._channel)
                return
            except (AuthFailed, HostKeyRefused):
                raise
            except HostUnreachable as error:
                self._misses += 1
                if self._is_over or self._is_unwanted():
                    return
                self.board.lost(id(self), error.message)
            finally:
                self._close_channel()

    @property
    def _is_over(self) -> bool:
        """Nobody waits for it: whatever breaks now was closed by us."""
        return self.ranges.is_over or self.board.closed.is_set()

    def _is_unwanted(self) -> bool:
        """Others bring bytes and this one does not: the host takes no more connections."""
        is_alone = self.board.streams <= 1
        return self._misses >= MISSES and not is_alone and time.monotonic() - self.board.moved_t < NEIGHBOUR_S

    def _converse(self, channel: Channel) -> None:
        """Take requests until there are none, and give back what was not finished. Calls `_went_well`."""
        raise NotImplementedError

    def _went_well(self) -> None:
        self._backoff.reset()
        self._misses = 0

    def _line(self, lines: ReplyLines, kind: type[R]) -> R:
        """The next line, of which we know what it has to be."""
        return read_reply(kind, lines.said(), self.host.name, self.mode)

    def _close_channel(self) -> None:
        channel, self._channel = self._channel, None  # whoever ends it all may be here at the same time
        if channel is not None:
            channel.close()

    def close(self) -> None:
        """End whatever it waits for."""
        self._close_channel()


def first_streams(to_send: int) -> int:
    """Return how many to begin with, for so many bytes."""
    return max(1, min(FIRST_STREAMS, to_send // WORTH_BYTES))


class Growth:
    """When more streams are worth it: as long as those added last made the whole quicker."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self.most = most
        self._best = 0.0
        self._looked_t, self._looked_bytes = time.monotonic(), 0
        self._is_settling, self._is_over = True, False

    def wants(self, streams: int, done_bytes: int, now: float | None = None) -> int:
        """Return how many more are worth it. streams: at work; done_bytes: so far, by all of them"""
        now = time.monotonic() if now is None else now
        if self._is_over or now - self._looked_t < LOOK_S:
            return 0
        rate = (done_bytes - self._looked_bytes) / (now - self._looked_t)
        self._looked_t, self._looked_bytes = now, done_bytes
        if self._is_settling:  # they connect, and what they fill first are buffers
            self._is_settling = False
            return 0
        if rate < self._best * GROWTH or streams >= self.most:
            self._is_over = rate > 0
            return 0
        self._best, self._is_settling = rate, True
        return min(self.most - streams, max(1, streams // 2)) if rate else 0


class Streams:
    """A growing number of connections; the `ssh` way of a transfer.

    stream_on: makes one for a host
    most:      connections at the same time
    """

    def __init__(
        self,
        host: Host,
        ranges: RangeQueue[Any],
        board: Board,
        stream_on: Callable[[Host | BulkHost], Stream],
        *,
        most: int = MOST_STREAMS,
    ) -> None:
        self.host, self.ranges, self.board, self.stream_on = host, ranges, board, stream_on
        self._streams: list[Stream] = []
        self._programs = Programs()
        self._bulk: list[BulkHost] = []
        self._growth, self._most = Growth(most), most
        self._is_growing = False

    def start(self, to_send: int) -> None:
        """Start the first connections, as many as so many bytes are worth."""
        self._is_growing = to_send > ALONE_BYTES
        number = min(self._most, first_streams(to_send))
        # It is connected already; but its bytes go through the interpreter.
        if to_send <= ALONE_BYTES or (self.host.is_twin and to_send <= HERE_BYTES):
            self._begin(self.host)
            number -= 1
        for _ in range(number):
            self._add()

    def _add(self) -> None:
        self._bulk.append(BulkHost(self.host, self._programs))
        self._begin(self._bulk[-1])

    def _begin(self, host: Host | BulkHost) -> None:
        self._streams.append(self.stream_on(host))
        self._streams[-1].start()

    def look(self) -> None:
        """Add connections if that is worth it; to be called now and then while bytes come."""
        if not self.board.streams and not self.ranges.is_over:
            self._add()
        left_s = self.board.row().left_s
        is_worth_it = self._is_growing and self.ranges.has_waiting and left_s is not None and left_s > WORTH_S
        if is_worth_it:
            for _ in range(self._growth.wants(self.board.streams, self.board.done_bytes)):
                self._add()

    def close(self) -> None:
        """Close the queue and every connection that was made for this."""
        self.ranges.close()
        closes = [one.close for one in self._streams] + [one.close for one in self._bulk]
        closing = [threading.Thread(target=close, daemon=True) for close in closes]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
