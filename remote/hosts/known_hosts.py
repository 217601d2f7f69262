"""Which key a host must show: our own known_hosts file, in OpenSSH's format.

Fabric trusts any key by default, and connects even when known_hosts says another one. Here a key is pinned under the
host's name (`compute.<id>` for a cloud VM, whose address changes) or the connection is refused.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path

from remote.errors import HostKeyRefused
from t2v_core.disk.files import staged_file
from t2v_core.disk.opening import read_bytes

HASHED = "|1|"
MOST_KEYS_BYTES = 16 * 2**20


def known_hosts_file() -> Path:
    """Return `~/.config/t2v/known_hosts`, below XDG_CONFIG_HOME when that is set."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "t2v/known_hosts"


def fingerprint(key: str) -> str:
    """Return `SHA256:…` of a key given as `type base64`, as ssh-keygen -l prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class Entry:
    """One line: for whom which key counts, as `type base64`. marker: `@revoked`, `@cert-authority` or nothing"""

    marker: str
    names: tuple[str, ...]
    key: str

    def is_for(self, name: str) -> bool:
        """Match by name, hash or pattern; a pattern with `!` that fits rules the line out."""
        if any(one.startswith("!") and _fits(one[1:], name) for one in self.names):
            return False
        return any(_fits(one, name) for one in self.names)


@dataclass(frozen=True)
class Keys:
    """What a host may show.

    taken:   its keys, as `type base64`
    revoked: those of nobody any more
    damage:  a sentence about lines that cannot be read, with a space behind it; "" when all can
    source:  who says so, for people
    """

    taken: Sequence[str]
    revoked: frozenset[str] = frozenset()
    damage: str = ""
    source: str = ""


@dataclass(frozen=True)
class KnownHosts:
    """The pinned keys. A missing file is an empty one; a line that cannot be read counts for nothing."""

    path: Path

    def _read(self) -> bytes:
        """Raises HostKeyRefused for a file that cannot be read: nobody is trusted for want of it."""
        try:
            return read_bytes(self.path, MOST_KEYS_BYTES)
        except FileNotFoundError:
            return b""
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or f"it is not a file, or is larger than {MOST_KEYS_BYTES >> 20} MiB"
            raise HostKeyRefused(f"{self.path} cannot be read: {why}", "fix it, or move it away") from error

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the number of each line, and the line; empty ones and comments are left out."""
        for number, line in enumerate(self._read().decode(errors="surrogateescape").splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield number, line

    def entries(self) -> Iterator[Entry]:
        """Yield every line that can be read, whatever it is for."""
        for _, line in self.lines():
            entry = entry_of(line)
            if entry is not None:
                yield entry

    def revoked(self) -> set[str]:
        """Return the keys, as `type base64`, of `@revoked` lines, whatever host they are for."""
        return {entry.key for entry in self.entries() if entry.marker == "@revoked"}

    def pinned(self, name: str) -> list[str]:
        """Return the keys pinned for a name, each as `type base64`; never a revoked one."""
        revoked = self.revoked()
        keys = [entry.key for entry in self.entries() if not entry.marker and entry.is_for(name)]
        return [key for key in dict.fromkeys(keys) if key not in revoked]

    def damage(self) -> str:
        """Say which lines cannot be read, as when one was cut off; "" when all can.

        A host may be unknown for that alone.
        """
        bad = [str(number) for number, line in self.lines() if entry_of(line) is None]
        if not bad:
            return ""
        return f"{'lines' if len(bad) > 1 else 'line'} {', '.join(bad[:5])} of {self.path} cannot be read; "

    def pin(self, name: str, keys: list[str]) -> None:
        """Make these the keys of a host, instead of those it had. Other lines stay as they are.

        Two that pin at once, in whatever process, do so one after the other.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone_in(self.path.parent):
            text = self.path.read_bytes() if self.path.exists() else b""
            others = [line for line in text.splitlines() if not _is_plain(line, name.encode())]
            with staged_file(self.path, mode=0o600) as partial:
                partial.write_bytes(
                    b"".join(line + b"\n" for line in [*others, *(f"{name} {key}".encode() for key in keys)])
                )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for whoever else changes a file there; a file system without locks is written to all the same."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def entry_of(line: str) -> Entry | None:
    """Read one line; None for one that holds no whole key."""
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3:
        return None
    names, kind, text = words[:3]
    try:
        blob = base64.b64decode(text, validate=True)
        return Entry(marker, tuple(names.split(",")), f"{kind} {text}") if _is_whole(blob, kind.encode()) else None
    except (ValueError, struct.error):
        return None


def _is_whole(blob: bytes, kind: bytes) -> bool:
    """Its parts, each behind its length, fill it exactly, and the first says what it is."""
    at, parts = 0, []
    while at < len(blob):
        (length,) = struct.unpack_from(">I", blob, at)
        parts.append(blob[at + 4 : at + 4 + length])
        at += 4 + length
    return at == len(blob) and len(parts) > 1 and parts[0] == kind


def _is_plain(line: bytes, name: bytes) -> bool:
    """A line that names this host alone, as we write them."""
    return not line.startswith((b"@", b"#")) and (line.split() or [b""])[0] == name


def _fits(one: str, name: str) -> bool:
    if one.startswith(HASHED):
        salt, _, digest = one[len(HASHED) :].partition("|")
        try:
            made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()  # OpenSSH's own choice
            return hmac.compare_digest(made, base64.b64decode(digest))
        except ValueError:
            return False
    if "*" in one or "?" in one:  # brackets are those of [host]:port
        return re.fullmatch(translate(one.replace("[", "[[]")), name, re.IGNORECASE) is not None
    return one.lower() == name.lower()
