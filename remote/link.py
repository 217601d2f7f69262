"""A verified SSH connection that notices when the other side is gone: Fabric's, with what Fabric leaves out."""

from __future__ import annotations

import base64
import logging
import shlex
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import paramiko
from fabric import Config, Connection
from paramiko.ssh_exception import BadHostKeyException, PasswordRequiredException

from remote.dial import Route, Way, dial
from remote.errors import AuthFailed, HostKeyChanged, HostKeyRefused, HostKeyUnknown, HostUnreachable, HungUp
from remote.gcloud_config import NOT_LOGGED_IN
from remote.host_keys import KnownHosts, fingerprint

# What it says of a socket that was closed under it would stand on the terminal; we say it in our own words.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

# The socket is connected before Fabric hears of it, so the name it knows is only what the pinned keys stand under.
STAND_IN = "host"
BANNER_TIMEOUT_S = 10.0
NO_BANNER = "Error reading SSH protocol banner"  # also said when it was waited for in vain
# From a cut link to LinkLost: at most a pause and the patience, 13 s. A keepalive whose answer nobody counts, which is
# what paramiko's own is, was not noticed in 45 s.
PAUSE_S, PATIENCE_S = 4.0, 9.0
# paramiko's own rekey can wait for itself and then drop the connection; the server asks for one when it is due.
NEVER = 2**40
AHEAD_BYTES = 256 * 1024
QUICK_READS = 64  # what it takes to log in, and some more; the system forgets the wish after each
WINDOW_BYTES = 2**20  # 20 MB/s at 50 ms, which no log needs; what has not been read yet is held in memory


class _Transport(paramiko.Transport):
    """AES-GCM first: a tenth less CPU a byte here than the default, and never a rekey from this side."""

    def __init__(self, sock: Any, *, window_bytes: int = WINDOW_BYTES, **options: Any) -> None:
        super().__init__(sock, default_window_size=window_bytes, **options)
        self.get_security_options().ciphers = ["aes128-gcm@openssh.com", *self.get_security_options().ciphers]
        self.packetizer.REKEY_BYTES = self.packetizer.REKEY_PACKETS = NEVER


class _ReadAhead:
    """A socket of which paramiko reads each packet in two pieces; the system is asked once for many packets.

    paramiko polls and reads for the length and for the rest of every 32 KiB: a third of all its time.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._ahead, self._place = sock, b"", 0
        self._quick = QUICK_READS if hasattr(socket, "TCP_QUICKACK") and sock.family != socket.AF_UNIX else 0

    def recv(self, size: int) -> bytes:
        if self._place >= len(self._ahead):
            self._ahead, self._place = self._sock.recv(max(size, AHEAD_BYTES)), 0
            if self._quick:
                self._acknowledge()
        data = self._ahead[self._place : self._place + size]
        self._place += len(data)
        return data

    def _acknowledge(self) -> None:
        """At once: while we log in the server holds back each small packet until we have the one before, for 40 ms."""
        self._quick -= 1
        with suppress(OSError):  # closed meanwhile
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Refuse(paramiko.MissingHostKeyPolicy):
    """No key is pinned: say which one is shown, and go no further."""

    def __init__(self, name: str, revoked: set[str]) -> None:
        self.name, self.revoked = name, revoked

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        shown = key_line(key)
        if shown in self.revoked:
            raise _revoked(self.name, shown)
        raise HostKeyUnknown(
            f"{self.name} shows a key that nobody has pinned: {fingerprint(shown)}",
            hint="compare it with the machine's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), "
            "then: t2v host trust",
            name=self.name, shown=shown, fingerprint=fingerprint(shown),
        )  # fmt: skip


class Link:
    """One SSH connection to one host, under a name that its key is pinned for.

    way:  dialled; closed with the link
    name: in the known_hosts file; the address may change, as a cloud VM's does
    window_bytes: what may be on its way in one channel, and held in memory before it is read
    """

    def __init__(
        self,
        route: Route,
        way: Way,
        *,
        name: str,
        user: str,
        known_hosts: KnownHosts,
        identity: str | None,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self.route, self.name = route, name
        self.lost_because = ""
        self._way = way
        options: dict[str, Any] = {
            "sock": _ReadAhead(self._way.sock),
            "banner_timeout": BANNER_TIMEOUT_S,
            "auth_timeout": BANNER_TIMEOUT_S,
            "channel_timeout": BANNER_TIMEOUT_S,
            "transport_factory": partial(_Transport, window_bytes=window_bytes),
        }
        if identity is not None:
            options |= {"key_filename": identity, "look_for_keys": False}
        self._connection = Connection(STAND_IN, user, 22, config=_no_ssh_config(), connect_kwargs=options)
        client = self._connection.client
        client.set_missing_host_key_policy(_Refuse(name, known_hosts.revoked()))
        for line in known_hosts.pinned(name):
            kind, _, text = line.partition(" ")
            client.get_host_keys().add(STAND_IN, kind, paramiko.PKey.from_type_string(kind, base64.b64decode(text)))
        self._open(user)
        threading.Thread(target=self._watch, name=f"watch {name}", daemon=True).start()

    def _open(self, user: str) -> None:
        try:
            with _in_words(self.route, self.name, user):
                self._connection.open()
        except (HostKeyRefused, AuthFailed):
            self.close()
            raise
        except HostUnreachable as error:
            self.close()
            raise self._by_way_of(error) from error

    def _by_way_of(self, error: HostUnreachable) -> HostUnreachable:
        """A program that was to get there knows better why it did not."""
        if not (said := self._way.last_word):
            return error
        program = self.route.proxy[0]
        hint = "gcloud auth login" if NOT_LOGGED_IN.search(said) else f"by hand: {shlex.join(self.route.proxy)}"
        return HostUnreachable(f"{program} does not get to {self.route}: {said}", hint)

    @property
    def transport(self) -> paramiko.Transport:
        return self._connection.transport

    @property
    def is_up(self) -> bool:
        return self.transport is not None and self.transport.is_active()

    def _watch(self) -> None:
        """Ask for an answer now and then, and close the connection when none comes: its readers learn it at once."""
        while self.is_up:
            answered = threading.Thread(target=self._ask, daemon=True)
            answered.start()
            answered.join(PATIENCE_S)
            if answered.is_alive() and self.is_up:
                self.lost_because = f"{self.route} has not answered for {PATIENCE_S:.0f} s"
                self.close()
                return
            time.sleep(PAUSE_S)

    def _ask(self) -> None:
        with suppress(Exception):  # the connection ended while we asked: `is_up` says so
            self.transport.global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        with suppress(Exception):  # half-open connections raise this and that; the socket goes either way
            self._connection.close()
        self._way.close()


def _no_ssh_config() -> Config:
    """`~/.ssh/config` was read already, for the address; Fabric would look the pinned name up in it."""
    return Config(overrides={"load_ssh_configs": False}, lazy=True)


class _in_words:  # noqa: N801 - reads as a statement
    """Turns what paramiko raises while connecting into our errors."""

    def __init__(self, route: Route, name: str, user: str) -> None:
        self.route, self.name, self.user = route, name, user

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or isinstance(error, HostUnreachable):
            return
        if isinstance(error, BadHostKeyException):
            raise _changed(self.name, error) from error
        if isinstance(error, PasswordRequiredException):
            raise AuthFailed(f"the key for {self.route} has a passphrase", "ssh-add it first") from error
        # A connection that ends while we log in is an AuthenticationException as well, and says nothing of our key.
        is_cut = "transport shut down" in str(error)
        has_no_key = "No authentication methods available" in str(error)
        if has_no_key or (isinstance(error, paramiko.AuthenticationException) and not is_cut):
            raise AuthFailed(
                f"{self.route} does not let {self.user} in", "check user and identity in t2v.toml, or ssh-add the key"
            ) from error
        if str(error) == NO_BANNER and time.monotonic() - self.began < BANNER_TIMEOUT_S / 2:
            raise HungUp(f"{self.route} hangs up before a word", "is its SSH server up?") from error
        if isinstance(error, paramiko.SSHException | OSError | EOFError):
            said = str(error) or type(error).__name__
            raise HostUnreachable(
                f"{self.route} does not speak SSH as it should: {said}", "is its SSH server up?"
            ) from error


def _changed(name: str, error: BadHostKeyException) -> HostKeyChanged:
    return HostKeyChanged(
        f"{name} shows key {fingerprint(key_line(error.key))}, but {fingerprint(key_line(error.expected_key))} is "
        "pinned for it",
        hint="if the machine was made anew: t2v host trust; if not, do not connect",
    )


def _revoked(name: str, shown: str) -> HostKeyChanged:
    return HostKeyChanged(f"{name} shows {fingerprint(shown)}, a key that is revoked", hint="do not connect")


def key_line(key: paramiko.PKey) -> str:
    """`type base64`, as in known_hosts."""
    return f"{key.get_name()} {key.get_base64()}"


def shown_key(route: Route) -> str:
    """The key a host shows, without logging in: `type base64`. Raises HostUnreachable."""
    way = dial(route)
    transport = _Transport(way.sock)
    try:
        transport.banner_timeout = BANNER_TIMEOUT_S
        with _in_words(route, str(route), ""):
            transport.start_client(timeout=BANNER_TIMEOUT_S)
        return key_line(transport.get_remote_server_key())
    finally:
        transport.close()
        way.close()
