"""The exact commands of other programs that move files: pure, so that every word of them can be tested."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remote.gce.scp import GcloudWay

CIPHER = "aes128-gcm@openssh.com"


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


def _plain(path: str) -> str:
    """A path in which OpenSSH is to expand nothing."""
    return path.replace("%", "%%")


def quoted(word: str) -> str:
    """Quote for rsync's own splitting of a text into words, and OpenSSH's of an option, which are not a shell's."""
    if not re.search(r"[\s'\"]", word):
        return word
    return f"'{word}'" if '"' in word else f'"{word}"'


def literal(path: str) -> str:
    """Escape a path as scp takes it for one file, whatever stars and brackets it has."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", path)


def rsync_argv(way: SshWay, there: str, here: Path, *, partial: str) -> list[str]:
    """Fetch the files whose names come on stdin, each ended by NUL, from below one folder to below another.

    A file that broke off goes on from `partial`; names are taken as they are, and no shell there sees them.
    """
    rsh = " ".join(map(quoted, way.ssh_argv()))
    source = f"{way.user}@{way.host}:{there.rstrip('/')}/"
    return [
        "rsync", "--times", "--from0", "--files-from=-", "--protect-args", "--no-implied-dirs", "--timeout=60",
        f"--partial-dir={partial}", "-e", rsh, "--", source, f"{here}/",
    ]  # fmt: skip


def gcloud_scp_argv(way: GcloudWay, there: str, here: Path) -> list[str]:
    """Return the command that brings one file from a VM by `gcloud compute scp`.

    there: absolute, as it is; scp would take `*` for more.
    """
    who = f"{way.user}@{way.instance}" if way.user else way.instance
    where = [f"--project={way.project}"] if way.project else []
    where += [f"--zone={way.zone}"] if way.zone else []
    where += [f"--port={way.port}"] if way.port else []
    where += ["--tunnel-through-iap"] if way.is_iap else []
    return [
        "gcloud", "compute", "scp", "--quiet", "--strict-host-key-checking=yes", *where,
        "--scp-flag=-q", "--scp-flag=-c", f"--scp-flag={CIPHER}", f"{who}:{literal(there)}", str(here),
    ]  # fmt: skip


def storage_cp_argv(sources: Sequence[str], target: str) -> list[str]:
    """Return the `gcloud storage cp` that copies files to or from a bucket; it checks their CRC32C by itself."""
    return ["gcloud", "storage", "cp", "--quiet", *sources, target]
