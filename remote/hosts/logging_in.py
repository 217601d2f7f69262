"""Logging in by key, in OpenSSH's order: certificates, the agent's keys that a file names, its others, then the files.

Nobody is asked for a passphrase or a password: t2v connects from threads, many times, and often with nobody there.
"""

from __future__ import annotations

import base64
import binascii
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
from paramiko.agent import AgentKey, AgentSSH
from paramiko.pkey import PublicBlob
from paramiko.ssh_exception import BadAuthenticationType, PasswordRequiredException

from remote.errors import AuthFailed, LoginImpossible
from remote.hosts.ssh_config import Credentials
from remote.text import shown

AGENT_TIMEOUT_S = 30.0  # a key in hardware waits for a finger
CERTIFICATE = "-cert-v01@openssh.com"
# How many fields of a certificate, behind its nonce, are the public key.
KEY_FIELDS = {"ssh-rsa": 2, "ssh-ed25519": 1, "sk-ssh-ed25519": 2, "sk-ecdsa-sha2-nistp256": 3}
ECDSA_FIELDS = 2
OPENSSH_MAGIC = b"openssh-key-v1\0"
TOO_MANY = "Too many authentication failures"
MEND = "check user and identity in t2v.toml, or ssh-add the key"
ONLY_ONE = "name the right key: identity = in t2v.toml, or IdentityFile and IdentitiesOnly yes in ~/.ssh/config"


class _Agent(AgentSSH):
    """The agent behind one socket; paramiko's own knows only that of SSH_AUTH_SOCK, and waits for it for ever."""

    def __init__(self, path: str) -> None:
        super().__init__()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(AGENT_TIMEOUT_S)
        try:
            connection.connect(path)
            self._connect(connection)  # type: ignore[attr-defined]
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the connection to the agent."""
        self._close()  # type: ignore[attr-defined]


@dataclass
class LoggingIn:
    """What paramiko takes as an `auth_strategy`: offers one key after the other until one is taken.

    route: the host's, for the sentences
    """

    credentials: Credentials
    route: str
    offered: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    has_passphrase: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    names: dict[Path, bytes] = field(default_factory=dict)

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        """Offer the keys in turn. Raises AuthFailed, and what paramiko raises when the connection ends meanwhile."""
        agent = self._agent()
        try:
            for label, key in self._keys(agent):
                if self._is_taken(transport, label, key):
                    return []
            if self._needs_no_key(transport):
                return []
        finally:
            if agent is not None:
                agent.close()
        raise self._refused()

    def _agent(self) -> _Agent | None:
        path = self.credentials.agent
        if not path or not self.credentials.uses_keys:
            return None
        try:
            return _Agent(path)
        except (OSError, paramiko.SSHException) as error:
            self.troubles.append(f"the agent at {path} does not answer: {error}")
            return None

    def _is_taken(self, transport: paramiko.Transport, label: str, key: paramiko.PKey) -> bool:
        self.offered.append(label)
        try:
            wanted = transport.auth_publickey(self.credentials.user, key)
        except BadAuthenticationType as error:
            raise self._other_way(error.allowed_types) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            if TOO_MANY.lower() in str(getattr(transport, "farewell", "")).lower():
                raise self._too_many() from error
            if not transport.is_active():
                raise
            if not isinstance(error, paramiko.AuthenticationException):
                self.troubles.append(f"{label}: {error}")
            return False
        if wanted and "publickey" not in wanted:
            raise self._other_way(wanted, is_second=True)
        return not wanted

    def _needs_no_key(self, transport: paramiko.Transport) -> bool:
        """Some servers know who it is already, as Tailscale's do; the answer also says what they want instead."""
        try:
            transport.auth_none(self.credentials.user)
        except BadAuthenticationType as error:
            if "publickey" not in error.allowed_types:
                raise self._other_way(error.allowed_types) from error
            return False
        except paramiko.AuthenticationException:
            if not transport.is_active():
                raise
            return False
        return True

    # What is offered

    def _keys(self, agent: _Agent | None) -> Iterator[tuple[str, paramiko.PKey]]:
        """Every key once, with what to call it; a file is opened when its turn comes."""
        if not self.credentials.uses_keys:
            return
        held = {plain_blob(key.blob): key for key in (agent.get_keys() if agent else ())}
        self.names = {path: public_blob(path) for path in self.credentials.identity_files}
        yield from self._certified(held)
        named = [blob for blob in self.names.values() if blob in held]
        others = [] if self.credentials.is_identities_only else [blob for blob in held if blob not in named]
        for blob in dict.fromkeys([*named, *others]):
            yield f"{held[blob].comment or held[blob].get_name()} (agent)", held[blob]
        for path, blob in self.names.items():
            if blob not in held and (key := self._read(path)) is not None:
                yield str(path), key

    def _certified(self, held: Mapping[bytes, AgentKey]) -> Iterator[tuple[str, paramiko.PKey]]:
        """Keys that a certificate goes with: one that was named, or the one beside its key."""
        beside = [path.with_name(f"{path.name}-cert.pub") for path in self.names]
        for certificate in dict.fromkeys([*self.credentials.certificate_files, *filter(Path.is_file, beside)]):
            try:
                text = certificate.read_text()
                blob = plain_blob(base64.b64decode(text.split()[1]))
            except (OSError, ValueError, IndexError, struct.error) as error:
                self.troubles.append(f"{certificate}: {_word(error)}")
                continue
            key: Any = _copy(held[blob]) if blob in held else None
            if key is None:
                path = next((path for path, public in self.names.items() if public == blob), None)
                key = None if path is None else self._read(path)
            if key is None:
                self.troubles.append(f"{certificate}: its key is not among those that may be used")
                continue
            key.public_blob = PublicBlob.from_string(text)
            yield str(certificate), key

    def _read(self, path: Path) -> paramiko.PKey | None:
        """A private key, or None and the reason in `troubles`."""
        try:
            return private_key(path, self.names.get(path, b""))
        except PasswordRequiredException:
            self.has_passphrase.append(str(path))
        except FileNotFoundError:
            self.troubles.append(f"{path} is not there")
        except (OSError, ValueError, paramiko.SSHException) as error:
            self.troubles.append(f"{path}: {_word(error)}")
            self.unreadable.append(str(path))
        return None

    # Why not

    def _refused(self) -> AuthFailed:
        if self.has_passphrase and not self.offered:
            path = self.has_passphrase[0]
            return LoginImpossible(f"the key for {self.route} has a passphrase: {path}", f"ssh-add {path}")
        kind = LoginImpossible if self.unreadable and not self.offered else AuthFailed
        return kind(f"{self.route} does not let {self.credentials.user} in: {self._tried()}", MEND)

    def _tried(self) -> str:
        nothing = (
            "there was no key to offer" if self.credentials.uses_keys else "PubkeyAuthentication no rules out keys"
        )
        parts = [f"it accepts none of: {', '.join(self.offered)}"] if self.offered else [nothing]
        parts += [f"{path} has a passphrase" for path in self.has_passphrase]
        if not self.offered or self.credentials.certificate_files:
            parts += self.troubles
        return shown("; ".join(parts[:6]))

    def _too_many(self) -> AuthFailed:
        return AuthFailed(
            f"{self.route} says '{TOO_MANY}' to {self.credentials.user} after {len(self.offered)} keys: "
            f"{shown(', '.join(self.offered))}",
            ONLY_ONE,
        )

    def _other_way(self, wanted: Sequence[str], *, is_second: bool = False) -> AuthFailed:
        ways = shown(", ".join(wanted)) or "nothing that t2v knows"
        if is_second:
            return LoginImpossible(
                f"{self.route} accepts the key, and requires more from {self.credentials.user}: {ways}",
                "t2v logs in by key alone: let the server ask for nothing else, or use a ProxyCommand",
            )
        return LoginImpossible(
            f"{self.route} lets {self.credentials.user} in by {ways} only, and t2v uses keys alone",
            "ssh-copy-id puts your key there; the server has to allow publickey",
        )


def private_key(path: Path, public: bytes) -> paramiko.PKey:
    """Read a key without the certificate beside it. Raises OSError, ValueError, SSHException."""
    kind = _strings(public, 1)[0] if public else b""
    classes: list[Any] = [paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey]
    likely = [one for one in classes if kind and one.__name__.removesuffix("Key").lower().encode() in kind]
    for one in likely or classes:
        try:
            key: paramiko.PKey = one.from_private_key_file(str(path))
            return key
        except PasswordRequiredException:
            raise
        except paramiko.SSHException:
            if one is (likely or classes)[-1]:
                raise
    raise ValueError("not a kind of key that t2v knows")


def public_blob(path: Path) -> bytes:
    """Return the public key of a key file, also of one with a passphrase, or of the `.pub` beside it.

    b"" when none can be told.
    """
    with suppress(OSError, ValueError, IndexError, struct.error):
        text = path.read_bytes()
        if text.startswith((b"ssh-", b"ecdsa-", b"sk-")):
            return base64.b64decode(text.split()[1])
        if b"BEGIN OPENSSH PRIVATE KEY" in text:
            body = base64.b64decode(b"".join(text.split(b"-----")[2].split()))
            if body.startswith(OPENSSH_MAGIC):
                return _strings(body[len(OPENSSH_MAGIC) :], 3, skip=4)[-1]
    with suppress(OSError, ValueError, IndexError):
        return base64.b64decode(path.with_name(f"{path.name}.pub").read_bytes().split()[1])
    return b""


def plain_blob(blob: bytes) -> bytes:
    """Return the public key that a certificate is for; a plain key is its own. Raises ValueError, struct.error."""
    kind = _strings(blob, 1)[0].decode(errors="replace")
    if not kind.endswith(CERTIFICATE):
        return blob
    plain = kind.removesuffix(CERTIFICATE)
    count = KEY_FIELDS.get(plain, ECDSA_FIELDS)
    name = f"{plain}@openssh.com" if plain.startswith("sk-") else plain
    return b"".join(struct.pack(">I", len(one)) + one for one in [name.encode(), *_strings(blob, count + 2)[2:]])


def _strings(data: bytes, count: int, *, skip: int = 0) -> list[bytes]:
    """The first strings of SSH's encoding; with `skip`, and one more behind so many bytes."""
    found, at = [], 0
    for number in range(count + (1 if skip else 0)):
        at += skip if number == count else 0
        (length,) = struct.unpack_from(">I", data, at)
        if len(data) < at + 4 + length:
            raise ValueError("it is cut off")
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _copy(key: AgentKey) -> AgentKey:
    """One more for the same key: a certificate must not go with the plain one as well."""
    return AgentKey(key.agent, key.blob, key.comment)


def _word(error: Exception) -> str:
    if isinstance(error, binascii.Error | ValueError | IndexError | struct.error):
        return "not a key that can be read"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
