"""One conversation with the agent over SSH, and its beginning: whatever a login shell does before, or instead."""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from remote.errors import AgentNotRun, HostUnreachable
from remote.hosts.agent_upload import NEED, NO_PYTHON, NO_ROOM, SHELL, upload
from remote.text import shown
from t2v_core.disk.plain_json import table

if TYPE_CHECKING:
    import paramiko

    from remote.hosts.ssh import SSHHost

START_TIMEOUT_S = 20.0
WRITE_TIMEOUT_S = 30.0
END_TIMEOUT_S = 2.0
LOOK_S = 0.2
PIECE_BYTES = 128 * 1024  # paramiko copies the rest of what it is given for every packet
MOST_NOISE_BYTES = 2**20
KEPT_BYTES = 16384  # our own line is a third of it
GREETING = re.compile(rb'\{"agent":[^\n]{1,2000}\n')
# At the end of a line: whoever echoes our own has the words in its middle.
IS_NO_PYTHON = re.compile(rf"{NO_PYTHON}(?:: (.+) is (\S+))?\s*$", re.MULTILINE)
NOT_AVAILABLE = re.compile("not (currently )?available|nologin|may not log ?in", re.IGNORECASE)


class SSHChannel:
    """Implements `Channel` over an exec channel on which the agent runs.

    greeting: what the agent said of itself
    """

    def __init__(self, host: SSHHost, channel: paramiko.Channel) -> None:
        self._host, self._channel = host, channel
        self._ahead = b""
        self.greeting: dict[str, Any] = {}

    def started(self, command_line: str) -> SSHChannel:
        """Run the line there, bring the agent when it has none, and pass over what a login shell may print before.

        Raises AgentNotRun with what the host said instead, HostUnreachable after the deadline.
        """
        self._execute(command_line)
        opening = Opening(self._host.name, time.monotonic() + START_TIMEOUT_S)
        while True:
            data = self._more(opening)
            if not data:
                raise opening.not_run(self._exit_status())
            if opening.takes(data):
                self.greeting, self._ahead = opening.greeting, opening.rest
                return self
            if opening.wants_agent:
                opening.wants_agent = False
                self.write(upload())

    def _execute(self, command_line: str) -> None:
        """paramiko waits for the answer without a deadline; a channel that is closed ends that."""
        import paramiko  # loaded long ago

        deadline = threading.Timer(START_TIMEOUT_S, self.close)
        deadline.daemon = True
        deadline.start()
        try:
            self._channel.exec_command(command_line)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if deadline.finished.is_set() and self._host.connect().is_up:
                raise HostUnreachable(
                    f"{self._host.name} does not run a command within {START_TIMEOUT_S:.0f} s", "is it overloaded?"
                ) from error
            raise self._host.lost(str(error)) from error
        finally:
            deadline.cancel()

    def _more(self, opening: Opening) -> bytes:
        """What came on stdout; what comes on stderr is taken away meanwhile, or it would fill the window for both."""
        while True:
            try:
                return self.read(65536, LOOK_S)
            except TimeoutError:
                if time.monotonic() > opening.deadline:
                    raise opening.too_late() from None
            finally:
                self._take_stderr(opening)

    def _take_stderr(self, opening: Opening) -> None:
        with suppress(OSError, EOFError):
            while self._channel.recv_stderr_ready() and time.monotonic() < opening.deadline:
                data = self._channel.recv_stderr(65536)
                if not data:
                    return
                opening.stderr = (opening.stderr + data)[-KEPT_BYTES:]

    def _exit_status(self) -> int | None:
        ended = self._channel.status_event.wait(END_TIMEOUT_S) and self._channel.exit_status >= 0
        return self._channel.exit_status if ended else None

    def write(self, data: bytes) -> None:
        """Write all of it. Raises LinkLost."""
        self._channel.settimeout(WRITE_TIMEOUT_S)
        try:
            self._channel.sendall(data)
        except (EOFError, OSError) as error:
            raise self._host.lost(str(error)) from error

    def write_from(self, file: int, offset: int, size: int) -> int:
        """Write up to `size` bytes of an open file; returns how many, 0 at its end. Raises LinkLost, OSError."""
        data = os.pread(file, min(size, PIECE_BYTES), offset)
        self.write(data)
        return len(data)

    def read(self, size: int, timeout_s: float) -> bytes:
        """Read up to `size` bytes; b"" when the agent ended by itself. Raises TimeoutError, LinkLost."""
        if self._ahead and size:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        self._channel.settimeout(timeout_s)
        try:
            data = self._channel.recv(size)
        except EOFError as error:  # making room for more is a message to the other side, which may be gone
            raise self._host.lost() from error
        if not data and not self._ended_by_itself():
            raise self._host.lost()
        return data

    def _ended_by_itself(self) -> bool:
        """An exit status came. −1 is what paramiko says when the connection ended first."""
        return self._channel.status_event.wait(1.0) and self._channel.exit_status >= 0

    def close(self) -> None:
        """Close the channel; the connection stays."""
        with suppress(EOFError, OSError):  # the connection went first
            self._channel.close()


class Opening:
    """What comes before the agent's greeting, which is looked for anywhere in it.

    wants_agent: the host has asked for it and it was not sent yet
    rest:        what came behind the greeting
    """

    def __init__(self, name: str, deadline: float) -> None:
        self.name, self.deadline = name, deadline
        self.greeting: dict[str, Any] = {}
        self.rest, self.stderr, self.wants_agent = b"", b"", False
        self._data, self._size, self._has_asked = b"", 0, False

    def takes(self, data: bytes) -> bool:
        """Take bytes; return True with the greeting in it. Raises AgentNotRun when it is more than anybody prints.

        Raises HostUnreachable after the deadline.
        """
        self._size += len(data)
        self._data += data
        if not self._has_asked and NEED in self._data:
            self._has_asked = self.wants_agent = True
            self._data = self._data.partition(NEED)[2]
        for found in GREETING.finditer(self._data):
            with suppress(ValueError):
                self.greeting = table(found[0])
                self.rest = self._data[found.end() :]
                return True
        if self._size > MOST_NOISE_BYTES:
            raise AgentNotRun(
                f"{self.name} prints {self._size} bytes before it runs a command: {self._said()}",
                "check its ~/.bashrc: whatever prints belongs behind a test for a terminal, [ -t 1 ]",
            )
        if time.monotonic() > self.deadline:
            raise self.too_late()
        self._data = self._data[-KEPT_BYTES:]
        return False

    def too_late(self) -> HostUnreachable:
        """Return the error for an agent that does not greet in time."""
        return HostUnreachable(
            f"{self.name} does not start the agent in {START_TIMEOUT_S:.0f} s{self._after()}",
            "is it overloaded? Or something in its ~/.bashrc waits, as for an answer",
        )

    def not_run(self, status: int | None) -> AgentNotRun:
        """Return an error with what the host said, and what to do about it."""
        said = (self._data + b"\n" + self.stderr).decode(errors="replace")
        if lacking := IS_NO_PYTHON.search(said):
            older = f": {shown(lacking[1])} is {shown(lacking[2])}" if lacking[1] else ""
            return AgentNotRun(
                f"{self.name} has no python3 of version 3.9 or newer{older}",
                "install one there, or name one: python = in t2v.toml", exit_status=status,
            )  # fmt: skip
        if NO_ROOM in said:
            why = shown(said.rpartition(NO_ROOM)[2].strip(" :\n"))
            return AgentNotRun(
                f"{self.name} has no room for the agent: {why}",
                "free some space in the home folder there, or in /var/tmp", exit_status=status,
            )  # fmt: skip
        if NOT_AVAILABLE.search(said):
            hint = "that account has no login shell: name another user, or there: chsh"
        elif status:
            hint = f"see what ssh {self.name} true says"
        else:
            hint = "a ForceCommand of its sshd, or an exit in its ~/.bashrc, comes before what it is told to run"
        return AgentNotRun(f"the agent does not run on {self.name}{self._after()}", hint, exit_status=status)

    def _after(self) -> str:
        return f"; it said: {said}" if (said := self._said()) else "; it said nothing"

    def _said(self) -> str:
        """Its last line, of stderr if there is one, without what it repeats of ours."""
        for data in (self.stderr, self._data):
            lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
            if lines:
                own, is_echo, _ = lines[-1].partition(f"{SHELL} '")
                return shown(f"{own[-180:]}{SHELL} …" if is_echo else lines[-1][-200:])
        return ""
