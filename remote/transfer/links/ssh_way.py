"""How OpenSSH's own programs reach a host: as t2v itself does, with the keys that it has pinned and no others."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remote.hosts.ssh import SSHHost

CIPHER = "aes128-gcm@openssh.com"
FAMILIES = {socket.AF_INET: "inet", socket.AF_INET6: "inet6"}


@dataclass(frozen=True)
class SshWay:
    """How OpenSSH reaches a host, with the keys that t2v has pinned and no others."""

    user: str
    host: str
    port: int
    key_name: str
    known_hosts: Path
    identities: Sequence[str] = ()
    certificates: Sequence[str] = ()
    agent: str = ""
    is_identities_only: bool = False
    proxy: Sequence[str] = ()
    family: str = "any"
    bind_address: str = ""

    def ssh_argv(self) -> list[str]:
        """Return the ssh command without the host: no configuration file is read, and an unpinned key is refused."""
        options = [
            "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={quoted(str(self.known_hosts))}",
            f"HostKeyAlias={self.key_name}", "CheckHostIP=no", "ServerAliveInterval=5", "ServerAliveCountMax=3",
        ]  # fmt: skip
        options += [f"IdentityAgent={quoted(_plain(self.agent) or 'none')}", f"AddressFamily={self.family}"]
        options += [f"CertificateFile={quoted(_plain(path))}" for path in self.certificates]
        options += [f"BindAddress={self.bind_address}"] if self.bind_address else []
        options += ["IdentitiesOnly=yes"] if self.is_identities_only else []
        options += [f"ProxyCommand={shlex.join(self.proxy).replace('%', '%%')}"] if self.proxy else []
        identity = [word for path in self.identities for word in ("-i", _plain(path))]
        chosen = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", "-c", CIPHER, "-p", str(self.port), *identity, *chosen]


def ssh_way(host: SSHHost) -> SshWay:
    """Return how OpenSSH reaches the host as t2v itself does."""
    route, credentials, keys = host.route, host.credentials, host.keys
    is_pinned = keys.source == str(host.known_hosts.path)
    return SshWay(
        user=host.user, host=route.host, port=route.port, key_name=host.key_name if is_pinned else host.config.key_name,
        known_hosts=Path(keys.source), identities=tuple(map(str, credentials.identity_files)),
        certificates=tuple(map(str, credentials.certificate_files)), agent=credentials.agent,
        is_identities_only=credentials.is_identities_only, proxy=tuple(route.proxy),
        family=FAMILIES.get(route.family, "any"), bind_address=route.bind_address,
    )  # fmt: skip


def run_argv(way: SshWay, line: str) -> list[str]:
    """Return the command that runs a line there, with nothing between its stdin and stdout and ours."""
    options = ["ConnectTimeout=10", "LogLevel=ERROR", "GlobalKnownHostsFile=none", "UpdateHostKeys=no"]
    chosen = [word for option in options for word in ("-o", option)]
    return [*way.ssh_argv(), *chosen, "-T", "-l", way.user, "--", way.host, line]


def _plain(path: str) -> str:
    """A path in which OpenSSH is to expand nothing."""
    return path.replace("%", "%%")


def quoted(word: str) -> str:
    """Quote for rsync's own splitting of a text into words, and OpenSSH's of an option, which are not a shell's."""
    if not re.search(r"[\s'\"]", word):
        return word
    return f"'{word}'" if '"' in word else f'"{word}"'
