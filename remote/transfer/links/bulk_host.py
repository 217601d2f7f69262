"""The same host for bulk: each conversation has a connection of its own, made by OpenSSH where that gets there."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence

from remote.errors import AgentNotRun, HostUnreachable
from remote.hosts.agent_client import Channel
from remote.hosts.host import Host
from remote.hosts.ssh import SSHHost
from remote.transfer.links.ssh_program import SshProgram
from remote.transfer.links.ssh_way import run_argv, ssh_way

# More is slower: OpenSSH's server reads ahead as much as the window allows, and copies all of it each time its buffer
# grows. 512 MiB over 50 ms and four streams: 57 MB/s with 8 MiB, 101 with 4, 112 with 3, 98 with 2.
WINDOW_BYTES = 3 * 1024 * 1024
ATTEMPTS = 2


class Programs:
    """Whether OpenSSH's programs get to a host, as far as has been seen; shared by all who try."""

    def __init__(self) -> None:
        self.is_there = shutil.which("ssh") is not None
        self._has_worked, self._failed = False, 0
        self._lock = threading.Lock()

    @property
    def may_do(self) -> bool:
        """Tell whether it is worth another try."""
        return self.is_there and (self._has_worked or self._failed < ATTEMPTS)

    def tell(self, *, works: bool) -> None:
        """Note how a try went."""
        with self._lock:
            self._has_worked |= works
            self._failed += not works


class BulkHost:
    """Opens conversations with a host's agent for bulk.

    Where an `ssh` program does not get there, t2v's own connection does, or says why not: it knows more ways to log in
    and tells errors apart.
    """

    def __init__(self, host: Host, programs: Programs) -> None:
        self.name, self.workdir = host.name, host.workdir
        self._twin, self._programs = host.twin(WINDOW_BYTES), programs

    def open(self, arguments: Sequence[str]) -> Channel:
        """Start the agent there. Raises HostUnreachable or a kind of it, AgentNotRun when it cannot run."""
        if isinstance(self._twin, SSHHost) and self._programs.may_do:
            try:
                channel = self._opened(self._twin, arguments)
                self._programs.tell(works=True)
                return channel
            except (HostUnreachable, AgentNotRun):
                self._programs.tell(works=False)
        return self._twin.open(arguments)

    @staticmethod
    def _opened(host: SSHHost, arguments: Sequence[str]) -> SshProgram:
        return SshProgram(run_argv(ssh_way(host), host.line(arguments)), name=host.name)

    def close(self) -> None:
        """Close t2v's own connection, if one was made."""
        self._twin.close()
