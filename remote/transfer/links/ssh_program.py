"""One conversation with the agent over an `ssh` program of its own: ciphers and copies cost the interpreter nothing."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from remote.errors import HostUnreachable, LinkLost
from remote.hosts.agent_client import ProcessChannel
from remote.hosts.agent_upload import upload
from remote.hosts.ssh_channel import START_TIMEOUT_S, Opening
from remote.hosts.ssh_socket import CONNECT_TIMEOUT_S
from remote.text import stderr_reason

LOST = 255  # what ssh ends with when the connection does
MOST_STDERR_BYTES = 16_384
F_SETPIPE_SZ, PIPE_BYTES = 1031, 1024 * 1024  # Linux's own


class SshProgram(ProcessChannel):
    """Implements `Channel`. Raises HostUnreachable when ssh does not get there, or the agent does not greet."""

    end_timeout_s = 1.0  # what is on its way is kept there; a dead link takes nothing any more

    def __init__(self, argv: Sequence[str], *, name: str) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it is the channel's, and closed with it
        super().__init__(argv, name=name, stderr=self._stderr.fileno())

    def _greeting(self) -> dict[str, Any]:
        for pipe in (self._in, self._out):
            with suppress(OSError):  # another system, or all that this user may have
                fcntl.fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)
        opening = Opening(self.name, time.monotonic() + CONNECT_TIMEOUT_S + START_TIMEOUT_S)
        while True:
            try:
                data = super().read(65536, max(0.0, opening.deadline - time.monotonic()))
            except TimeoutError:
                raise opening.too_late() from None
            if not data:
                raise HostUnreachable(f"ssh does not get to {self.name}: {self._why()}")
            if opening.takes(data):
                self._ahead = opening.rest
                return opening.greeting
            if opening.wants_agent:
                opening.wants_agent = False
                self.write(upload())

    def read(self, size: int, timeout_s: float) -> bytes:
        """Read up to `size` bytes; b"" when the agent ended by itself. Raises TimeoutError, LinkLost."""
        data = super().read(size, timeout_s)
        if not data and not self._is_closed and self._status() == LOST:
            raise LinkLost(f"the connection to {self.name} is lost: {self._why()}", "t2v reconnects by itself")
        return data

    def _status(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(self.end_timeout_s)
        return None

    def _why(self) -> str:
        with suppress(ValueError):  # it was closed here meanwhile
            said = os.pread(self._stderr.fileno(), MOST_STDERR_BYTES, 0).decode(errors="replace")
            return stderr_reason(said) or "it was closed"
        return "it was closed"

    def close(self) -> None:
        """Close its input, by which it ends: what was written still gets there when that takes no second."""
        super().close()
        self._stderr.close()
