"""One connection that fetches ranges from the agent's `send`."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from remote.errors import HostUnreachable, TransferFailed
from remote.hosts.agent_client import Channel, ReplyLines
from remote.hosts.host import Host
from remote.replies.transfer import RangeBegins, RangeEnds
from remote.text import shown
from remote.transfer.arrivals import Arrivals
from remote.transfer.board import Board
from remote.transfer.incoming import Incoming
from remote.transfer.links.bulk_host import BulkHost
from remote.transfer.ranges import Range, RangeQueue, Request
from remote.transfer.streams import SILENCE_S, Stream

ASKED_AHEAD = 2
# As often the journal learns how far a range came: what a killed process had written need not come again.
NOTED_BYTES = 1024 * 1024


class FetchStream(Stream):
    """Takes ranges that are to be fetched, and hands their bytes to the arrivals."""

    mode = "send"

    def __init__(self, host: Host | BulkHost, ranges: RangeQueue[Incoming], arrivals: Arrivals, board: Board) -> None:
        super().__init__(host, ranges, board)
        self.arrivals = arrivals

    def _converse(self, channel: Channel) -> None:
        """Ask one request ahead, so that the other side never waits for the next."""
        lines, asked = ReplyLines(channel, silence_s=SILENCE_S), deque[Request[Incoming]]()
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
                    self._went_well()
                asked.popleft()
                self.ranges.finished()
        finally:
            for request in asked:
                self.ranges.give_back(request)

    def _take_range(self, lines: ReplyLines, request: Request[Incoming]) -> None:
        """The answer to the first range of a request, which is taken off when it is dealt with."""
        one, incoming = request[0], request[0].file
        header = self._line(lines, RangeBegins)
        if header.changed is not None:
            request.pop(0)
            self.arrivals.again(incoming, shown(header.why), is_final=header.is_final)
            return
        if header.n != one.end - one.begin:
            raise TransferFailed(f"{self.host.name} sent other bytes than were requested", "run it again")
        began = noted = one.begin
        try:
            for piece in lines.pieces(one.end - one.begin):
                self.arrivals.take(incoming, one.begin, piece)
                one.begin += len(piece)
                if one.begin - noted >= NOTED_BYTES and not incoming.is_small:
                    self.arrivals.took_range(incoming, noted, one.begin)
                    noted = one.begin
            said = self._line(lines, RangeEnds)
        except HostUnreachable:
            one.begin = self.arrivals.broke_off(incoming, began, one.begin)
            raise
        request.pop(0)
        if not said.is_same:
            why = shown(said.why) if said.is_final else "it was written to while it was read"
            self.arrivals.again(incoming, why, is_final=said.is_final)
        elif incoming.is_small:
            self.arrivals.took_small(incoming, said.sha256)
        else:
            self.arrivals.took_range(incoming, began, one.end)


def asking(one: Range[Incoming]) -> dict[str, Any]:
    """Return a range as the agent's `send` takes it."""
    incoming, file = one.file, one.file.file
    return {
        "path": incoming.far_path, "offset": one.begin, "n": one.end - one.begin, "size": file.size,
        "mtime_ns": file.mtime_ns, "inode": file.inode, "digest": incoming.is_small,
    }  # fmt: skip
