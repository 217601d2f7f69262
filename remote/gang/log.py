"""One log of several hosts: the first one's lines as they are, the others' with their host before them."""

from __future__ import annotations

import sys
from typing import BinaryIO

# A program that never ends its line must not fill the memory.
LONGEST_LINE = 1 << 16


class GangLog:
    """Writes whole lines. out: where they go; stdout, which is the job's log"""

    def __init__(self, first: str, out: BinaryIO | None = None) -> None:
        self._first, self._out = first, out or sys.stdout.buffer
        self._torn: dict[str, bytes] = {}

    def write(self, host: str, data: bytes) -> None:
        """Take what a host's part printed, in pieces of any size."""
        *lines, torn = (self._torn.get(host, b"") + data).split(b"\n")
        if len(torn) > LONGEST_LINE:
            lines, torn = [*lines, torn], b""
        self._torn[host] = torn
        prefix = b"" if host == self._first else f"[{host}] ".encode()
        if lines:
            self._out.write(b"".join(prefix + line + b"\n" for line in lines))
            self._out.flush()

    def end(self, host: str | None = None) -> None:
        """End the lines that are still open, of one host or of all."""
        for name in [host] if host else [*self._torn]:
            if self._torn.get(name):
                self.write(name, b"\n")
