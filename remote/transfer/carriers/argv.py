"""The exact commands of other programs that move files: pure, so that every word of them can be tested."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from remote.gce.scp import GcloudWay
from remote.transfer.links.ssh_way import CIPHER, SshWay, quoted


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
