"""A connected socket to a host's SSH server: directly, through a jump host, or through a program."""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from remote.errors import HostUnreachable
from remote.last_word import last_word_of

CONNECT_TIMEOUT_S = 10.0
# Without it a sender learns of a cut link after a quarter of an hour.
USER_TIMEOUT_MS = 12_000
MOST_STDERR_BYTES = 16_384


@dataclass(frozen=True)
class Route:
    """How to get to a host.

    host, port: of its SSH server; proxy: a program whose stdin and stdout are the connection, instead of TCP from here
    """

    host: str
    port: int
    proxy: Sequence[str] = ()

    def __str__(self) -> str:
        return self.host if self.port == 22 else f"{self.host}:{self.port}"


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

    def close(self) -> None:
        with suppress(OSError):  # whoever reads learns it now, and not at the next look
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        if self.program is not None:
            self.program.terminate()
            self.program.wait(timeout=CONNECT_TIMEOUT_S)
        if self.stderr is not None and not self.stderr.closed:
            with self.stderr:
                self.stderr.seek(0)
                self.last_word = last_word_of(self.stderr.read(MOST_STDERR_BYTES).decode(errors="replace"))


def dial(route: Route) -> Way:
    """Connect. Raises HostUnreachable with the reason."""
    return _through_program(route) if route.proxy else Way(_directly(route))


def silence(route: Route, timeout_s: float = 5.0) -> str:
    """Why no SSH server speaks there; "" when one does. A machine that is on may be without one yet."""
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


def dial_soon(route: Route) -> Callable[[], Way]:
    """Connect while the caller does something else; what is returned waits for it, and raises as `dial`."""
    pool = ThreadPoolExecutor(1, "dial")
    way = pool.submit(dial, route)
    pool.shutdown(wait=False)
    return way.result


def _directly(route: Route) -> socket.socket:
    try:
        sock = socket.create_connection((route.host, route.port), timeout=CONNECT_TIMEOUT_S)
    except TimeoutError as error:
        hint = "is the machine on, and may this network reach it?"
        raise HostUnreachable(f"{route} does not answer within {CONNECT_TIMEOUT_S:.0f} s", hint) from error
    except socket.gaierror as error:
        raise HostUnreachable(f"there is no machine named {route.host}", "check the address in t2v.toml") from error
    except OSError as error:
        raise HostUnreachable(f"{route} refuses the connection: {error.strerror}", "is its SSH server up?") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    return sock


def _through_program(route: Route) -> Way:
    """The program gets one end of a socket pair as its stdin and stdout.

    paramiko's own ProxyCommand never notices that its program died, and spins at half a core from then on.
    """
    ours, theirs = socket.socketpair()
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it is the connection's, and gone with it
    with theirs:
        try:
            program = subprocess.Popen(
                list(route.proxy), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=stderr.fileno()
            )
        except OSError as error:
            ours.close()
            raise HostUnreachable(f"cannot start {route.proxy[0]}: {error.strerror}", "install it") from error
    return Way(ours, program, stderr)


def jump_through(jump: str, host: str, port: int) -> list[str]:
    """The argv that reaches `host:port` by way of another machine, whose key OpenSSH itself checks."""
    return ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-W", f"{host}:{port}", "--", jump]


def proxy_argv(command: str, host: str, port: int) -> list[str]:
    """A ProxyCommand of an OpenSSH configuration, with its %h and %p, without a shell."""
    filled = command.replace("%h", host).replace("%p", str(port))
    return shlex.split(filled)
