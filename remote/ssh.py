"""SSHHost: a host over SSH, whose connection is made when it is needed and made again when it was lost."""

from __future__ import annotations

import copy
import getpass
import json
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.dial import Route, dial_soon, jump_through, proxy_argv
from remote.errors import HostUnreachable, HungUp, LinkLost, RemoteError
from remote.host_keys import KnownHosts, known_hosts_file
from remote.host_settings import HostSettings
from remote.loader import NEED, command, upload

if TYPE_CHECKING:
    import paramiko

    from remote.link import Link

START_TIMEOUT_S = 20.0
HUNG_UP_PAUSES_S = (0.2, 0.5)
WRITE_TIMEOUT_S = 30.0
MAX_NOISE_BYTES = 65536


class SSHHost:
    """Implements `Host` over one SSH connection with as many channels as there are conversations.

    config: an OpenSSH client configuration; what it says of the address holds unless the settings say otherwise
    """

    def __init__(
        self,
        name: str,
        settings: HostSettings,
        *,
        known_hosts: KnownHosts | None = None,
        config: Path | None = None,
    ) -> None:
        self.name, self.settings = name, settings
        self.known_hosts = known_hosts or KnownHosts(known_hosts_file())
        self._config = _lookup(settings.address or name, config or Path.home() / ".ssh/config")
        self._window_bytes: int | None = None
        self._link: Link | None = None
        self._lock = threading.Lock()  # several threads that open one connection lazily fail

    @property
    def route(self) -> Route:
        settings, config = self.settings, self._config
        host = str(config.get("hostname") or settings.address or self.name)
        port = settings.port or int(config.get("port") or 22)
        proxy = settings.proxy_command or config.get("proxycommand")
        jump = settings.jump or config.get("proxyjump")
        if proxy and proxy != "none":
            return Route(host, port, proxy_argv(str(proxy), host, port))
        return Route(host, port, jump_through(str(jump), host, port) if jump and jump != "none" else ())

    @property
    def key_name(self) -> str:
        """Under which its key is pinned: `compute.<id>` for a cloud VM, else the address, with the port if not 22."""
        route = self.route
        plain = route.host if route.port == 22 else f"[{route.host}]:{route.port}"
        return self.settings.key_name or str(self._config.get("hostkeyalias") or plain)

    @property
    def workdir(self) -> str:
        return self.settings.workdir

    @property
    def engine_python(self) -> str:
        return self.settings.engine_python

    @property
    def is_managed(self) -> bool:
        return self.settings.python is None

    @property
    def user(self) -> str:
        return self.settings.user or str(self._config.get("user") or getpass.getuser())

    @property
    def identity(self) -> Path | None:
        """The private key; None: those that an agent has, and OpenSSH's usual files."""
        identity = self.settings.identity or next(iter(self._config.get("identityfile") or []), None)
        return None if identity is None else Path(identity)

    @property
    def is_twin(self) -> bool:
        return self._window_bytes is not None

    def twin(self, window_bytes: int) -> SSHHost:
        """The same host over a connection of its own, for bulk: it would hold up every other conversation."""
        twin = copy.copy(self)
        twin._window_bytes, twin._link, twin._lock = window_bytes, None, threading.Lock()
        return twin

    def open(self, arguments: Sequence[str]) -> SSHChannel:
        """Start the agent there. Raises HostUnreachable or one of its kinds, RemoteError when the agent cannot run."""
        channel = self._session()
        try:
            return SSHChannel(self, channel).started(command(arguments))
        except BaseException:
            with suppress(EOFError, OSError):  # what went wrong first is what counts
                channel.close()
            raise

    def _session(self) -> paramiko.Channel:
        link = self.connect()
        import paramiko  # noqa: PLC0415 - loaded while the connection was being made

        try:
            return link.transport.open_session(timeout=START_TIMEOUT_S)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.lost(str(error)) from error

    def connect(self) -> Link:
        """The connection, made now if there is none that works."""
        with self._lock:
            if self._link is None or not self._link.is_up:
                if self._link is not None:
                    self._link.close()
                self._link = self._linked()
            return self._link

    def _linked(self) -> Link:
        """A server whose MaxStartups is reached hangs up on some; the next moment it has room."""
        for pause_s in HUNG_UP_PAUSES_S:
            with suppress(HungUp):
                return self._new_link()
            time.sleep(pause_s)
        return self._new_link()

    def _new_link(self) -> Link:
        route = self.route
        dialled = dial_soon(route)
        from remote.link import WINDOW_BYTES, Link  # noqa: PLC0415 - paramiko and Fabric, as long as a round trip or two

        return Link(
            route,
            dialled(),
            name=self.key_name,
            user=self.user,
            known_hosts=self.known_hosts,
            identity=None if self.identity is None else str(self.identity.expanduser()),
            window_bytes=self._window_bytes or WINDOW_BYTES,
        )

    def lost(self, why: str = "") -> LinkLost:
        """What to raise when the connection turned out to be gone."""
        why = (self._link.lost_because if self._link is not None else "") or why or "it was closed"
        return LinkLost(f"the connection to {self.name} is lost: {why}", "jobs there go on; t2v looks again by itself")

    def close(self) -> None:
        with self._lock:
            if self._link is not None:
                self._link.close()
                self._link = None


class SSHChannel:
    """Implements `Channel` over an exec channel on which the agent runs.

    greeting: what the agent said of itself
    """

    def __init__(self, host: SSHHost, channel: paramiko.Channel) -> None:
        self._host, self._channel = host, channel
        self._ahead = b""
        self.greeting: dict[str, Any] = {}

    def started(self, command_line: str) -> SSHChannel:
        """Run the loader, give it the agent when it has none, and pass over what a login shell may print before."""
        self._execute(command_line)
        noise, deadline = 0, time.monotonic() + START_TIMEOUT_S
        while noise < MAX_NOISE_BYTES:
            line = self._line(deadline)
            if line == NEED:
                self.write(upload())
            elif line.startswith(b'{"agent"'):
                self.greeting = json.loads(line)
                return self
            noise += len(line)
        raise RemoteError(f"{self._host.name} prints {noise} bytes before it runs a command", "look into its ~/.bashrc")

    def _execute(self, command_line: str) -> None:
        import paramiko  # noqa: PLC0415 - loaded long ago

        try:
            self._channel.exec_command(command_line)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._host.lost(str(error)) from error

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._ahead:
            try:
                data = self.read(4096, max(0.01, deadline - time.monotonic()))
            except TimeoutError as error:
                raise HostUnreachable(
                    f"{self._host.name} does not start the agent in {START_TIMEOUT_S:.0f} s"
                ) from error
            if not data:
                raise self._would_not_run()
            self._ahead += data
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line + b"\n"

    def _would_not_run(self) -> RemoteError:
        said = self._channel.recv_stderr(4096).decode(errors="replace").strip().splitlines()
        if self._channel.recv_exit_status() == 127:
            return RemoteError(f"{self._host.name} has no python3", "install it there: sudo apt install python3-venv")
        return RemoteError(f"the agent does not run on {self._host.name}: {said[-1] if said else 'no word why'}")

    def write(self, data: bytes) -> None:
        self._channel.settimeout(WRITE_TIMEOUT_S)
        try:
            self._channel.sendall(data)
        except (EOFError, OSError) as error:
            raise self._host.lost(str(error)) from error

    def read(self, size: int, timeout_s: float) -> bytes:
        """Up to `size` bytes; b"" when the agent ended by itself. Raises TimeoutError, LinkLost."""
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
        with suppress(EOFError, OSError):  # the connection went first
            self._channel.close()


def _lookup(address: str, config: Path) -> dict[str, Any]:
    """What an OpenSSH client configuration says of an address."""
    if not config.exists():
        return {}
    import paramiko  # noqa: PLC0415

    return dict(paramiko.SSHConfig.from_path(str(config)).lookup(address))
