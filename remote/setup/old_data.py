"""Data of the previous system on a host, where training finds none of its own: what there is, and what takes it."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING

from remote.replies.files import OldFolders
from remote.replies.questions import OLD_DATA
from t2v_core.format import counted, grouped, size

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs

TIMEOUT_S = 30.0


def old_data(jobs: HostJobs, data: str) -> OldFolders:
    """Return the folders of .pt files in a data set there; there may be none.

    One round trip, half a second at most there. Raises HostUnreachable, AgentError.
    """
    return jobs.ask(OLD_DATA, timeout_s=TIMEOUT_S, data=data).found


def old_data_words(old: OldFolders, now_t: float | None = None) -> str:
    """Say what there is in a line.

    `10,000 latents (5.3 GB) and 10,000 text embeddings (1.6 GB) of the previous system, 400 days old`.
    """
    parts = []
    for name, folder in old:
        more = "" if folder.is_counted else "at least "
        parts.append(f"{more}{grouped(folder.files)} {name} ({size(folder.size_bytes)})")
    days = ((now_t or time.time()) - max(folder.newest_t for _, folder in old)) / 86_400
    return f"{' and '.join(parts)} of the previous system, {counted(max(0, round(days)), 'day')} old"


def command(data: str, host: str) -> str:
    """Return the line that turns them into what training reads."""
    where = shlex.quote(data)
    return f"t2v data import-latents {where} --data {where} --host {host}"
