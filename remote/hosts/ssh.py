"""SSHHost: a host over SSH, whose connection is made when it is needed and made again when it was lost."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from remote.errors import AgentNotRun, HungUp, LinkLost
from remote.hosts.agent_upload import command
from remote.hosts.known_hosts import Keys, KnownHosts, known_hosts_file
from remote.hosts.openssh import client_config
from remote.hosts.settings import ENGINE_PYTHON, HostSettings
from remote.hosts.ssh_channel import SSHChannel
from remote.hosts.ssh_config import ClientConfig, Credentials, filled, plain_tokens
from remote.hosts.ssh_socket import CONNECT_TIMEOUT_S, Route, Way, by_command, dial, jump_through, soon
from t2v_core.workspace import expanded

if TYPE_CHECKING:
    import paramiko

    from remote.hosts.ssh_connection import Link

HUNG_UP_PAUSES_S = (0.2, 0.5)
# Where nothing else is set up, as on the command line, Python writes what it warns of to stderr.
LOG = logging.getLogger("t2v.hosts")
SLOW_LOGIN_S = 5.0
NOT_FOUND = 127  # what a shell says of a program that is not there


class SSHHost:
    """Implements `Host` over one SSH connection with as many channels as there are conversations.

    config: an OpenSSH client configuration, instead of the user's and the system's; what it says of the address holds
            unless the settings say otherwise
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
        self._file = config
        self._config: ClientConfig | None = None
        self._is_careful = False  # python3 alone would not do
        self._window_bytes: int | None = None
        self._link: Link | None = None
        self._lock = threading.Lock()  # several threads that open one connection lazily fail

    @property
    def config(self) -> ClientConfig:
        """Return what OpenSSH says of it, asked at first need and at each connection. Raises SshConfigWrong."""
        if self._config is None:
            self._config = self._asked()
        return self._config

    def _asked(self) -> ClientConfig:
        settings = self.settings
        return client_config(settings.address or self.name, user=settings.user, port=settings.port, file=self._file)

    @property
    def route(self) -> Route:
        """Return how to get to it: t2v.toml decides about proxy and jump, else OpenSSH's configuration."""
        settings, config = self.settings, self.config
        plain = Route(
            config.host, config.port, family=config.family, bind_address=config.bind_address,
            timeout_s=config.connect_timeout_s or CONNECT_TIMEOUT_S,
        )  # fmt: skip
        if settings.proxy_command and settings.proxy_command != "none":
            return by_command(plain, filled(settings.proxy_command, plain_tokens(config)))
        if settings.jump and settings.jump != "none":
            return replace(plain, proxy=jump_through(settings.jump, plain.host, plain.port, self._file))
        if "none" in (settings.proxy_command, settings.jump):
            return plain
        if config.proxy_command:
            return by_command(plain, config.proxy_command)
        jump = config.proxy_jump
        return replace(plain, proxy=jump_through(jump, plain.host, plain.port, self._file)) if jump else plain

    @property
    def key_name(self) -> str:
        """Return the name under which its key is pinned.

        That is `compute.<id>` for a cloud VM, else the address, with the port if not 22.
        """
        return self.settings.key_name or self.config.key_name

    @property
    def keys(self) -> Keys:
        """Return the keys pinned here; where none is, those that OpenSSH knows it by.

        Somebody has compared those.
        """
        name, config = self.key_name, self.config
        taken, source = self.known_hosts.pinned(name), str(self.known_hosts.path)
        revoked, damage = self.known_hosts.revoked(), self.known_hosts.damage()
        for path in config.known_hosts:
            with suppress(OSError):  # OpenSSH passes over one that it may not read as well
                theirs = KnownHosts(path)
                revoked |= theirs.revoked()
                if not taken and (taken := theirs.pinned(config.key_name)):
                    source = str(path)
        return Keys([key for key in taken if key not in revoked], frozenset(revoked), damage, source)

    @property
    def workdir(self) -> str:
        """Return the workspace there, as t2v.toml says."""
        return self.settings.workdir

    @property
    def engine_python(self) -> str:
        """Return the Python there that has the engine, as t2v.toml says."""
        return self.settings.engine_python

    @property
    def is_managed(self) -> bool:
        """Tell whether t2v installs the engine there: t2v.toml names no `python`."""
        return self.settings.python is None

    @property
    def user(self) -> str:
        """Return who logs in, as OpenSSH says."""
        return self.config.user

    @property
    def credentials(self) -> Credentials:
        """Return what to log in with.

        An identity of t2v.toml is the only one that is offered, whatever else an agent holds.
        """
        config, identity = self.config, self.settings.identity
        return Credentials(
            user=self.user,
            identity_files=config.identity_files if identity is None else (expanded(identity),),
            certificate_files=config.certificate_files,
            agent=config.agent,
            is_identities_only=config.is_identities_only or identity is not None,
            uses_keys=config.uses_keys,
        )

    @property
    def is_twin(self) -> bool:
        """Tell whether it was made by `twin`, for bulk."""
        return self._window_bytes is not None

    def twin(self, window_bytes: int) -> SSHHost:
        """Return the same host over a connection of its own, for bulk, which would hold up other conversations."""
        twin = copy.copy(self)
        twin._window_bytes, twin._link, twin._lock = window_bytes, None, threading.Lock()
        return twin

    def open(self, arguments: Sequence[str]) -> SSHChannel:
        """Start the agent there. Raises HostUnreachable or one of its kinds, AgentNotRun when it cannot run."""
        try:
            return self._started(self.line(arguments))
        except AgentNotRun as error:
            if self._is_careful or not error.exit_status:  # no Python's fault
                raise
            try:
                channel = self._started(self.line(arguments, is_careful=True))
            except AgentNotRun as second:
                raise (error if second.exit_status == NOT_FOUND else second) from error
            self._is_careful = True
            return channel

    def line(self, arguments: Sequence[str], *, is_careful: bool = False) -> str:
        """Return what starts the agent there. is_careful: by whatever Python there is, as once no other has done"""
        pythons = [] if self.settings.python is None else [self.settings.python]
        if not (is_careful or self._is_careful):
            return command(arguments, pythons)
        return command(arguments, [*pythons, f"{self.workdir}/{ENGINE_PYTHON}"], is_careful=True)

    def _started(self, command_line: str) -> SSHChannel:
        channel = SSHChannel(self, self._session())
        try:
            return channel.started(command_line)
        except BaseException:
            channel.close()  # what went wrong first is what counts
            raise

    def _session(self) -> paramiko.Channel:
        link = self.connect()
        import paramiko  # loaded while the connection was being made

        try:
            with self._told_when_slow(link):
                return link.transport.open_session(timeout=link.session_timeout_s)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.lost(str(error)) from error

    @contextmanager
    def _told_when_slow(self, link: Link) -> Iterator[None]:
        """Say why nothing happens yet: a machine that is ending a login of the same user lets no other begin."""
        said = f"{self.name} has let {self.user} in and is still opening the session; waiting for it"
        timer = threading.Timer(SLOW_LOGIN_S, LOG.warning, ["note:  %s", said])
        timer.daemon = True
        if not link.has_answered.is_set():
            timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def connect(self) -> Link:
        """Return the connection, made now if there is none that works."""
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
        dialled = soon(self._dialled)
        from remote.hosts.ssh_connection import (
            WINDOW_BYTES,
            Link,
        )  # paramiko and Fabric take as long as a round trip

        route, way = dialled()
        try:
            return Link(
                route, way, name=self.key_name, credentials=self.credentials, keys=self.keys,
                window_bytes=self._window_bytes or WINDOW_BYTES,
            )  # fmt: skip
        except BaseException:
            way.close()
            raise

    def _dialled(self) -> tuple[Route, Way]:
        """The configuration may have changed since the last connection."""
        self._config = self._asked()
        route = self.route
        return route, dial(route)

    def lost(self, why: str = "") -> LinkLost:
        """Return what to raise when the connection turned out to be gone."""
        why = (self._link.lost_because if self._link is not None else "") or why or "it was closed"
        return LinkLost(f"the connection to {self.name} is lost: {why}", "jobs there go on; t2v reconnects by itself")

    def close(self) -> None:
        """Close the connection, and all conversations with it; jobs go on."""
        with self._lock:
            if self._link is not None:
                self._link.close()
                self._link = None
