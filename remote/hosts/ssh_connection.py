"""A verified SSH connection that notices when the other side is gone: Fabric's, with what Fabric leaves out."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import paramiko
from fabric import Config, Connection

from remote.errors import AuthFailed, HostKeyChanged, HostKeyRefused, HostKeyUnknown, HostUnreachable, HungUp
from remote.hosts.known_hosts import Keys, fingerprint
from remote.hosts.logging_in import MEND, LoggingIn
from remote.hosts.ssh_config import Credentials
from remote.hosts.ssh_socket import Route, Way, dial
from remote.text import LOG_IN, NOT_LOGGED_IN, shown

# What it says of a socket that was closed under it would stand on the terminal; we say it in our own words.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

# The socket is connected before Fabric hears of it, so the name it knows is only what the pinned keys stand under.
STAND_IN = "host"
BANNER_TIMEOUT_S = 10.0
MOST_BEFORE_BANNER_BYTES = 2**20
BANNER = re.compile(rb"^SSH-[^\n]*\n", re.MULTILINE)
HANDSHAKE_TIMEOUT_S = 15.0
AUTH_TIMEOUT_S = 40.0  # a key in hardware waits for a finger
ERRNO = re.compile(r"\[Errno \d+\] ")
# What paramiko cannot do and a server requires, with what to ask its owner for.
IN_COMMON = re.compile(r"no acceptable (kex algorithm|host key|ciphers|macs)")
OURS = {
    "kex algorithm": ("KexAlgorithms", "curve25519-sha256@libssh.org"),
    "host key": ("HostKeyAlgorithms", "ssh-ed25519"),
    "ciphers": ("Ciphers", "aes128-gcm@openssh.com"), "macs": ("MACs", "hmac-sha2-256-etm@openssh.com"),
}  # fmt: skip
NO_BANNER = "Error reading SSH protocol banner"  # also said when it was waited for in vain
# What we send first is read by nobody then, so that the end is a reset.
HANGS_UP = re.compile(rf"{NO_BANNER}(\[Errno \d+\] Connection reset by peer)?")
FLOODS = "bytes and no SSH banner"
# From a cut link to LinkLost: at most a pause and the patience, 13 s. A keepalive whose answer nobody counts, which is
# what paramiko's own is, was not noticed in 45 s.
PAUSE_S, PATIENCE_S = 4.0, 9.0
# Who was let in waits for a session: where a login of the same user is just being ended, systemd ends that first.
LOGIN_PATIENCE_S, SESSION_TIMEOUT_S = 130.0, 20.0
# paramiko's own rekey can wait for itself and then drop the connection; the server asks for one when it is due.
NEVER = 2**40
AHEAD_BYTES = 256 * 1024
QUICK_READS = 64  # what it takes to log in, and some more; the system forgets the wish after each
WINDOW_BYTES = 2**20  # 20 MB/s at 50 ms, which no log needs; what has not been read yet is held in memory


class _Transport(paramiko.Transport):
    """AES-GCM first: a tenth less CPU a byte here than the default, and never a rekey from this side.

    known: keys of the host; it is asked for one of their kinds before any other
    """

    def __init__(
        self, sock: Any, *, window_bytes: int = WINDOW_BYTES, known: Sequence[str] = (), **options: Any
    ) -> None:
        super().__init__(sock, default_window_size=window_bytes, **options)
        security = self.get_security_options()
        security.ciphers = ["aes128-gcm@openssh.com", *security.ciphers]
        kinds = {one.split()[0].replace("ssh-rsa", "rsa-sha2-") for one in known}
        security.key_types = sorted(security.key_types, key=lambda kind: not kind.startswith(tuple(kinds)))
        self.packetizer.REKEY_BYTES = self.packetizer.REKEY_PACKETS = NEVER
        self.handshake_timeout = HANDSHAKE_TIMEOUT_S
        self.farewell = ""

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        """Why the server ends it, which paramiko writes into a log and forgets."""
        m.get_int()
        self.farewell = m.get_text()


class _ReadAhead:
    """A socket of which paramiko reads each packet in two pieces; the system is asked once for many packets.

    paramiko polls and reads for the length and for the rest of every 32 KiB: a third of all its time.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._ahead, self._place = sock, b"", 0
        self._before_banner: bytes | None = b""
        self._banner_by = time.monotonic() + BANNER_TIMEOUT_S
        self._quick = QUICK_READS if hasattr(socket, "TCP_QUICKACK") and sock.family != socket.AF_UNIX else 0

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes from what was read ahead; read more when that is used up."""
        if self._place >= len(self._ahead):
            self._ahead, self._place = self._sock.recv(max(size, AHEAD_BYTES)), 0
            if self._before_banner is not None:
                self._look_for_banner()
            if self._quick:
                self._acknowledge()
        data = self._ahead[self._place : self._place + size]
        self._place += len(data)
        return data

    @property
    def first_words(self) -> str:
        """The first line of what came in the place of a banner; "" when nothing did, or a banner."""
        lines = (line.strip() for line in (self._before_banner or b"").decode(errors="replace").splitlines())
        return shown(next(filter(None, lines), "")[:200])

    def _look_for_banner(self) -> None:
        """paramiko waits for the end of a line without an end, and keeps all of it: also of one that begins well."""
        assert self._before_banner is not None
        self._before_banner += self._ahead
        if BANNER.search(self._before_banner):
            self._before_banner = None
        elif len(self._before_banner) > MOST_BEFORE_BANNER_BYTES or time.monotonic() > self._banner_by:
            raise OSError(f"it has sent {len(self._before_banner)} {FLOODS}")

    def _acknowledge(self) -> None:
        """At once: while we log in the server holds back each small packet until we have the one before, for 40 ms."""
        self._quick -= 1
        with suppress(OSError):  # closed meanwhile
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Judge(paramiko.MissingHostKeyPolicy):
    """Takes a key that the host is known by, and no other: paramiko itself knows one key of each kind at most."""

    def __init__(self, name: str, keys: Keys) -> None:
        self.name, self.keys = name, keys

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        """Take the key if it is pinned. Raises HostKeyChanged, HostKeyUnknown."""
        shown, taken = key_line(key), self.keys.taken
        if shown in self.keys.revoked:
            raise HostKeyChanged(f"{self.name} shows {fingerprint(shown)}, a key that is revoked", "do not connect")
        if shown in taken:
            return
        if taken:
            same_kind = [one for one in taken if one.split()[0] == shown.split()[0]]
            raise HostKeyChanged(
                f"{self.name} shows key {fingerprint(shown)}, but {fingerprint((same_kind or list(taken))[0])} is "
                "pinned for it",
                "if you re-created the machine: t2v host trust; if not, do not connect",
            )
        raise HostKeyUnknown(
            f"{self.name} shows a key that nobody has pinned: {fingerprint(shown)}",
            hint=f"{self.keys.damage}compare it with the machine's own (ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub there), then: t2v host trust",
            name=self.name, shown=shown, fingerprint=fingerprint(shown),
        )  # fmt: skip


class Link:
    """One SSH connection to one host, under a name that its key is pinned for.

    way:  dialled; closed with the link
    name: in the known_hosts file; the address may change, as a cloud VM's does
    keys: the ones that it may show
    window_bytes: what may be on its way in one channel, and held in memory before it is read
    has_answered: the session there is open: from now on, silence means that the link is lost
    """

    def __init__(
        self,
        route: Route,
        way: Way,
        *,
        name: str,
        credentials: Credentials,
        keys: Keys,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self.route, self.name = route, name
        self.lost_because = ""
        self.has_answered = threading.Event()
        self._way = way
        user, self._ahead = credentials.user, _ReadAhead(way.sock)
        options: dict[str, Any] = {
            "sock": self._ahead,
            "banner_timeout": BANNER_TIMEOUT_S,
            "auth_timeout": AUTH_TIMEOUT_S,
            "auth_strategy": LoggingIn(credentials, str(route)),
            "channel_timeout": BANNER_TIMEOUT_S,
            "transport_factory": partial(_Transport, window_bytes=window_bytes, known=keys.taken),
        }
        self._connection = Connection(STAND_IN, user, 22, config=_no_ssh_config(), connect_kwargs=options)
        self._connection.client.set_missing_host_key_policy(_Judge(name, keys))
        self._open(user)
        threading.Thread(target=self._watch, name=f"watch {name}", daemon=True).start()

    def _open(self, user: str) -> None:
        try:
            with _our_errors(self.route, user, self._ahead):
                self._connection.open()
        except (HostKeyRefused, AuthFailed):
            self.close()
            raise
        except HostUnreachable as error:
            code = self._way.code()
            self.close()
            raise self._by_way_of(error, code) from error

    def _by_way_of(self, error: HostUnreachable, code: int | None) -> HostUnreachable:
        """A program that was to get there knows better why it did not. code: with which it ended by itself"""
        program, hint = self.route.program, f"by hand: {self.route.by_hand}"
        if said := self._way.last_word:
            hint = LOG_IN if NOT_LOGGED_IN.search(said) else hint
            return HostUnreachable(f"{program} cannot reach {self.route}: {said}", hint)
        if code is not None and not self._ahead.first_words:
            return type(error)(f"{program} cannot reach {self.route}: it ended with code {code} and no word", hint)
        return type(error)(f"{error.message}, by way of {program}", hint) if program else error

    @property
    def transport(self) -> paramiko.Transport:
        """Return paramiko's transport, which may have ended: see `is_up`."""
        return self._connection.transport

    @property
    def is_up(self) -> bool:
        """Tell whether the connection still works, as far as is known."""
        return self.transport is not None and self.transport.is_active()

    @property
    def session_timeout_s(self) -> float:
        """Return how long to wait for a session: long for the first after a login."""
        return SESSION_TIMEOUT_S if self.has_answered.is_set() else LOGIN_PATIENCE_S

    def _watch(self) -> None:
        """Ask for an answer now and then, and close the connection when none comes: its readers learn it at once."""
        patience_s = LOGIN_PATIENCE_S
        while self.is_up:
            answered = threading.Thread(target=self._ask, daemon=True)
            answered.start()
            answered.join(patience_s)
            if answered.is_alive() and self.is_up:
                self.lost_because = f"{self.route} has not answered for {patience_s:.0f} s"
                self.close()
                return
            self.has_answered.set()
            patience_s = PATIENCE_S
            time.sleep(PAUSE_S)

    def _ask(self) -> None:
        with suppress(Exception):  # the connection ended while we asked: `is_up` says so
            self.transport.global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        """Close the connection and the way to it."""
        with suppress(Exception):  # half-open connections raise this and that; the socket goes either way
            self._connection.close()
        self._way.close()


def _no_ssh_config() -> Config:
    """`~/.ssh/config` was read already, for the address; Fabric would look the pinned name up in it."""
    return Config(overrides={"load_ssh_configs": False}, lazy=True)


@contextmanager
def _our_errors(route: Route, user: str, ahead: _ReadAhead) -> Iterator[None]:
    """Turn what paramiko raises while connecting into our errors."""
    began = time.monotonic()
    try:
        yield
    except HostUnreachable:
        raise
    except (paramiko.SSHException, OSError, EOFError) as error:
        # A connection that ends while we log in is an AuthenticationException as well, and says nothing of our key.
        if isinstance(error, paramiko.AuthenticationException) and "transport shut down" not in str(error):
            raise AuthFailed(f"{route} does not let {user} in: {error}", MEND) from error
        took_s, said = time.monotonic() - began, f"; it said: {ahead.first_words}" if ahead.first_words else ""
        if HANGS_UP.fullmatch(str(error)) and took_s < BANNER_TIMEOUT_S / 2:
            why = f"{route} hangs up before its SSH banner{said}" if said else f"{route} hangs up without a word"
            raise HungUp(why, "is its SSH server up, and at that port?") from error
        if lacking := IN_COMMON.search(str(error)):
            setting, one = OURS[lacking[1]]
            why = f"{route} and t2v have no {lacking[1].removesuffix('s')} in common"
            raise HostUnreachable(why, f"let its sshd allow {one} as well: {setting} in its sshd_config") from error
        why = f"{route} does not speak SSH as it should: {_word(error, took_s)}{said}"
        raise HostUnreachable(why, "is its SSH server up?") from error


def _word(error: Exception, took_s: float) -> str:
    """Say what went wrong in fewer words than paramiko, which has none at all for an end and for a silence."""
    said = str(error)
    if said.startswith(NO_BANNER):
        return said.removeprefix(NO_BANNER) if said.endswith(FLOODS) else "no SSH banner came"
    if isinstance(error, EOFError) and not said:
        return f"silence for {took_s:.0f} s" if took_s > BANNER_TIMEOUT_S else "it ends the connection"
    return ERRNO.sub("", said) or type(error).__name__


def key_line(key: paramiko.PKey) -> str:
    """Return a key as `type base64`, as in known_hosts."""
    return f"{key.get_name()} {key.get_base64()}"


def shown_key(route: Route) -> str:
    """Return the key a host shows, without logging in: `type base64`. Raises HostUnreachable."""
    way = dial(route)
    ahead = _ReadAhead(way.sock)
    transport = _Transport(ahead)
    try:
        transport.banner_timeout = BANNER_TIMEOUT_S
        with _our_errors(route, "", ahead):
            transport.start_client(timeout=BANNER_TIMEOUT_S)
        return key_line(transport.get_remote_server_key())
    finally:
        transport.close()
        way.close()
