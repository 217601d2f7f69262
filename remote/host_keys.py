"""Which key a host must show: our own known_hosts file, in OpenSSH's format.

Fabric trusts any key by default, and connects even when known_hosts says another one. Here a key is pinned under the
host's name (`compute.<id>` for a cloud VM, whose address changes) or the connection is refused.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t2v_core.files import staged_file

if TYPE_CHECKING:
    from paramiko import HostKeys


def known_hosts_file() -> Path:
    """`~/.config/t2v/known_hosts`, below XDG_CONFIG_HOME when that is set."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "t2v/known_hosts"


def fingerprint(key: str) -> str:
    """`SHA256:…` of a key given as `type base64`, as ssh-keygen -l prints it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class KnownHosts:
    """The pinned keys. A missing file is an empty one."""

    path: Path

    def lines(self) -> Iterator[str]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                if line.strip() and not line.startswith("#"):
                    yield line

    def revoked(self) -> set[str]:
        """Keys, as `type base64`, of `@revoked` lines, whatever host they are for."""
        return {" ".join(line.split()[2:4]) for line in self.lines() if line.startswith("@revoked")}

    def pinned(self, name: str) -> list[str]:
        """The keys pinned for a name, each as `type base64`; never a revoked one."""
        keys = self._plain().lookup(name)
        lines = [f"{kind} {key.get_base64()}" for kind, key in (keys.items() if keys else ())]
        return [line for line in lines if line not in self.revoked()]

    def _plain(self) -> HostKeys:
        """Without `@revoked` and `@cert-authority` lines, one of which makes paramiko refuse the whole file."""
        from paramiko import HostKeys  # noqa: PLC0415 - 0.3 s that a local job need not pay
        from paramiko.hostkeys import HostKeyEntry  # noqa: PLC0415

        keys = HostKeys()
        for line in self.lines():
            entry = None if line.startswith("@") else HostKeyEntry.from_line(line)
            if entry is not None and entry.key is not None:
                for name in entry.hostnames or ():
                    keys.add(name, entry.key.get_name(), entry.key)
        return keys

    def pin(self, name: str, keys: list[str]) -> None:
        """Make these the keys of a host, instead of those it had. Other lines stay as they are."""
        others = [line for line in self.lines() if line.startswith("@") or line.split()[0] != name]
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with staged_file(self.path) as partial:
            partial.write_text("".join(f"{line}\n" for line in [*others, *(f"{name} {key}" for key in keys)]))
