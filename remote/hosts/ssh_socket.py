"""A connected socket to a host's SSH server: directly, through a jump host, or through a program."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

from remote.errors import HostUnreachable
from remote.text import stderr_reason

CONNECT_TIMEOUT_S = 10.0
# Without it a sender learns of a cut link after a quarter of an hour.
USER_TIMEOUT_MS = 12_000
MOST_STDERR_BYTES = 16_384
END_TIMEOUT_S = 5.0
ENDED_TIMEOUT_S = 0.2  # whose end of the socket is closed is gone, but not yet to be waited for
T = TypeVar("T")


@dataclass(frozen=True)
class Route:
    """How to get to a host.

    host, port: of its SSH server; proxy: a program whose stdin and stdout are the connection, instead of TCP from here
    command:    that program as somebody wrote it for a shell; "" when nobody did
    family, bind_address: of the TCP connection; timeout_s: for each address that the name has
    """

    host: str
    port: int
    proxy: Sequence[str] = ()
    command: str = ""
    family: socket.AddressFamily = socket.AF_UNSPEC
    bind_address: str = ""
    timeout_s: float = CONNECT_TIMEOUT_S

    def __str__(self) -> str:
        return self.host if self.port == 22 else f"{self.host}:{self.port}"

    @property
    def by_hand(self) -> str:
        """Return the program as one would type it."""
        return self.command or shlex.join(self.proxy)

    @property
    def program(self) -> str:
        """Return what the program is called; "" without one."""
        return (self.by_hand.split() or [""])[0]


@dataclass
class Way:
    """A connected socket, and the program behind it when there is one.

    stderr:    the program's
    last_word: of the program, once it is closed: why it did not get there; "" when it said nothing
    """

    sock: socket.socket
    program: subprocess.Popen[bytes] | None = None
    stderr: IO[bytes] | None = None
    last_word: str = ""

    def code(self) -> int | None:
        """Return the exit code of the program when it ended by itself, now or any moment; else None."""
        if self.program is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return self.program.wait(timeout=ENDED_TIMEOUT_S)
        return None

    def close(self) -> None:
        """Close the socket, end the program, and keep its last word."""
        with suppress(OSError):  # whoever reads learns it now, and not at the next look
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        if self.program is not None:
            _end(self.program)
        if self.stderr is not None and not self.stderr.closed:
            with self.stderr:
                self.stderr.seek(0)
                self.last_word = stderr_reason(self.stderr.read(MOST_STDERR_BYTES).decode(errors="replace"))


def dial(route: Route) -> Way:
    """Connect. Raises HostUnreachable with the reason."""
    return _through_program(route) if route.proxy else Way(_directly(route))


def silence(route: Route, timeout_s: float = 5.0) -> str:
    """Say why no SSH server speaks there; "" when one does. A machine that is on may be without one yet."""
    why = f"not yet, at {route}"
    try:
        way = dial(route)
    except HostUnreachable as error:
        return error.message if route.proxy else why
    speaks = False
    try:
        way.sock.settimeout(timeout_s)
        speaks = way.sock.recv(4, socket.MSG_WAITALL) == b"SSH-"
    except OSError:
        pass
    finally:
        way.close()
    return "" if speaks else way.last_word or why


def soon(work: Callable[[], T]) -> Callable[[], T]:
    """Begin it while the caller does something else; what is returned waits for it, and raises as it does."""
    pool = ThreadPoolExecutor(1, "dial")
    begun = pool.submit(work)
    pool.shutdown(wait=False)
    return begun.result


def _directly(route: Route) -> socket.socket:
    try:
        sock = _connected(route)
    except TimeoutError as error:
        hint = "is the machine on, and may this network reach it?"
        raise HostUnreachable(f"{route} does not answer within {route.timeout_s:.0f} s", hint) from error
    except socket.gaierror as error:
        hint = "check the address in t2v.toml, or HostName in ~/.ssh/config"
        raise HostUnreachable(f"there is no machine named {route.host}", hint) from error
    except UnicodeError as error:  # longer than a name may be, or with an empty part
        raise HostUnreachable(f"{route.host!r} cannot be the name of a machine", "check the address") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL and route.bind_address:
            here = f"this machine does not have the address {route.bind_address}, from which {route} is to be reached"
            raise HostUnreachable(here, "check BindAddress in ~/.ssh/config") from error
        raise HostUnreachable(f"{route} refuses the connection: {error.strerror}", "is its SSH server up?") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    return sock


def _connected(route: Route) -> socket.socket:
    """To the first of the name's addresses that takes it."""
    trouble: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        route.host, route.port, route.family, socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(route.timeout_s)
            if route.bind_address:
                sock.bind((route.bind_address, 0))
            sock.connect(address)
        except OSError as error:
            sock.close()
            trouble = error
            continue
        return sock
    raise trouble


def _through_program(route: Route) -> Way:
    """The program gets one end of a socket pair as its stdin and stdout, and no terminal to ask anything at.

    paramiko's own ProxyCommand never notices that its program died, and spins at half a core from then on.
    """
    ours, theirs = socket.socketpair()
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it is the connection's, and gone with it
    with theirs:
        try:
            program = subprocess.Popen(
                list(route.proxy), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=stderr.fileno(),
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            stderr.close()
            raise HostUnreachable(f"cannot start {route.proxy[0]}: {error.strerror}", "install it") from error
    return Way(ours, program, stderr)


def _end(program: subprocess.Popen[bytes]) -> None:
    """With what it has started; by force when it does not end by itself."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, number)
        with suppress(subprocess.TimeoutExpired):
            program.wait(timeout=END_TIMEOUT_S)
            return


def jump_through(jump: str, host: str, port: int, config: Path | None = None) -> list[str]:
    """Return the argv that reaches `host:port` by way of other machines, whose keys OpenSSH itself checks.

    jump: as for ssh -J: the last of `[user@]host[:port],…` is asked to connect, by way of those before it
    """
    first, _, last = jump.rpartition(",")
    user, host_there, port_there = hop(last)
    file = ["-F", str(config) if config.exists() else "none"] if config is not None else []
    who = [*(["-l", user] if user else []), *(["-p", port_there] if port_there else [])]
    before = ["-J", first] if first else []
    return [
        "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", *file, *who, *before, "-W", f"[{host}]:{port}", "--",
        host_there,
    ]  # fmt: skip


def hop(text: str) -> tuple[str, str, str]:
    """Split `[user@]host[:port]`, or its `ssh://` form, into user, host and port; "" for what it does not say."""
    user, _, place = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        return user, host, port.removeprefix(":")
    if place.count(":") == 1:
        host, _, port = place.partition(":")
        return user, host, port
    return user, place, ""  # more colons are an IPv6 address


def by_command(route: Route, command: str) -> Route:
    """Return the route through a ProxyCommand, its tokens filled in.

    As OpenSSH does it, the user's own shell gives way to it.
    """
    return replace(route, proxy=(os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {command}"), command=command)
