"""A real NFS: kernels of their own (user-mode Linux) as its server and its clients, joined by cables of this process.

The server is Linux's nfsd over ext4 on a disk file, NFS 4.2; the clients are Linux's own too. None needs root here.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.house.needs import needs

from bench.own_kernel import require_up
from remote.errors import LinkLost
from remote.hosts.agent_client import Agent, agent_argv

GUEST = Path(__file__).with_name("nfs_guest.py")
SHARED = Path("/run/shared")
BOOT_S, ANSWER_S = 60.0, 60.0
DISK_BYTES = 64 * 2**20
# nfs(5): hard, and what a file's attributes are remembered for, are mount's defaults.
OPTIONS = "vers=4.2,hard,timeo=600,retrans=2,acregmin=3,acregmax=60,acdirmin=30,acdirmax=60,sec=sys"


class LineChannel:
    """Implements `Channel` over one end of a socket pair whose other end is a kernel's serial line."""

    def __init__(self, line: socket.socket, greeting_s: float) -> None:
        self._line, self._ahead, self.greeting = line, b"", {}
        data = b""
        while b"\n" not in data:
            data += self.read(65536, greeting_s)
        said, _, self._ahead = data.partition(b"\n")
        self.greeting: dict[str, Any] = json.loads(said)

    def write(self, data: bytes) -> None:
        try:
            self._line.sendall(data)
        except OSError as error:
            raise LinkLost("the line is gone") from error

    def write_from(self, file: int, offset: int, size: int) -> int:
        data = os.pread(file, size, offset)
        self.write(data)
        return len(data)

    def read(self, size: int, timeout_s: float) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        if not select.select([self._line], [], [], timeout_s)[0]:
            raise TimeoutError
        return self._line.recv(size)

    def close(self) -> None:
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)


@dataclass
class Kernel:
    """One machine. settings: what tests/bench/nfs_guest.py reads; cables: this machine's ends of them"""

    folder: Path
    settings: dict[str, Any]
    cables: list[socket.socket]
    disk: Path | None = None
    memory_mb: int = 160
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    agent: Agent | None = field(default=None, init=False)

    def boot(self) -> None:
        """Switch it on; `wait` tells when it is up."""
        self.folder.mkdir(exist_ok=True)
        settings, init, log = (self.folder / name for name in ("settings.json", "init", "console"))
        settings.write_text(json.dumps(self.settings))
        # The root is this machine's own, read-only: nothing behind a mount that failed can be written.
        init.write_text(
            f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S -X utf8 {shlex.quote(str(GUEST))} {settings}\n"
        )
        init.chmod(0o755)
        pairs = [socket.socketpair() for _ in range(2)]
        self.agent_line, self.control = (pair[0] for pair in pairs)
        lines = [pair[1].fileno() for pair in pairs]
        cables = [
            f"vec{place}:transport=fd,fd={one.fileno()},mac=02:00:00:00:{self.settings['number']:02x}:{place:02x}"
            for place, one in enumerate(self.cables)
        ]
        command = [
            "setarch", "--addr-no-randomize", needs("linux.uml"), f"mem={self.memory_mb}M", "root=/dev/root",
            "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", "con=null", "con0=null,fd:1", "ssl=null",
            *(f"ssl{number}=fd:{line},fd:{line}" for number, line in enumerate(lines)),
            *cables, *([f"ubd0={self.disk}"] if self.disk else []), f"uml_dir={self.folder}", "umid=one",
        ]  # fmt: skip
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
                pass_fds=[*lines, *(one.fileno() for one in self.cables)],
            )  # fmt: skip
        for _, other in pairs:
            other.close()
        self._said = b""

    def wait(self) -> None:
        """Skips the test where such a kernel cannot run."""
        try:
            assert self._line(BOOT_S) == "ready"
        except AssertionError:
            require_up(self.folder / "init", (self.folder / "console").read_text(errors="replace"))
            raise

    def _line(self, timeout_s: float) -> Any:
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._said:
            left = deadline - time.monotonic()
            there = select.select([self.control], [], [], max(0.0, left))[0]
            more = self.control.recv(65536) if there else b""
            assert more, (self.folder / "console").read_text(errors="replace")[-3000:]
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return json.loads(line)

    def run(self, program: str, timeout_s: float = ANSWER_S) -> Any:
        """Run a Python program there; returns what it put into `said`."""
        self.control.sendall(json.dumps(program).encode() + b"\n")
        reply = self._line(timeout_s)
        assert "raised" not in reply, reply["raised"]
        return reply["said"]

    def start_agent(self) -> LineChannel:
        self.run(f"said = start_agent({agent_argv(['serve'], sys.executable)!r})")
        return LineChannel(self.agent_line, BOOT_S)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Stand still meanwhile, and answer nobody."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Pull its plug."""
        if self.agent is not None:
            self.agent.close()
            self.agent = None
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
            for line in (self.agent_line, self.control):
                line.close()


@dataclass
class Network:
    """A server and two machines, a cable from it to each. `a` and `b` are booted anew by `kill` and `start`."""

    server: Kernel
    machines: dict[str, Kernel]

    def start(self, *names: str) -> None:
        for name in names:
            self.machines[name].boot()
        for name in names:
            self.machines[name].wait()


def cable() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@contextmanager
def network(folder: Path, options: str = OPTIONS) -> Iterator[Network]:
    """Boot a server and two machines that have mounted its folder on SHARED. Skips the test where none can be."""
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run([needs("mkfs.ext4"), "-q", str(disk)], check=True, timeout=60)
    cables = [cable() for _ in "ab"]
    served = {"name": "server", "number": 0, "addresses": ["10.0.1.1", "10.0.2.1"], "clients": ["10.0.1.2", "10.0.2.2"]}
    server = Kernel(folder / "server", served, [end for end, _ in cables], disk)
    asked = {"options": options}
    machines = {
        name: Kernel(
            folder / name,
            {"name": f"machine-{name}", "number": n, "addresses": [f"10.0.{n}.2"], "server": f"10.0.{n}.1"} | asked,
            [cables[n - 1][1]],
        )
        for n, name in ((1, "a"), (2, "b"))
    }  # fmt: skip
    try:
        server.boot()
        server.wait()
        server.run("Path('/proc/fs/nfsd/v4_end_grace').write_text('Y')")  # nobody was here before
        one = Network(server, machines)
        one.start("a", "b")
        yield one
    finally:
        for kernel in (*machines.values(), server):
            kernel.kill()
        for ends in cables:
            for end in ends:
                end.close()
