"""What a VM cost day by day, from the ledger of its sessions in this workspace."""

from __future__ import annotations

import time
from dataclasses import dataclass

from remote.cost.midnight import midnight_before
from t2v_core.workspace import Workspace

DAYS = 14


@dataclass(frozen=True)
class Day:
    """label: `today`, else `Mon 23`"""

    label: str
    usd: float
    hours: float


def days_of(workspace: Workspace, host: str, now_t: float | None = None) -> tuple[Day, ...]:
    """Return the days on which it ran, newest first, without today.

    Raises EngineError when the ledger cannot be read.
    """
    from remote.cost.ledger import Ledger

    now_t = time.time() if now_t is None else now_t
    sessions = Ledger.of(workspace, host).sessions()
    end_t, found = midnight_before(now_t), []
    for _ in range(DAYS):
        begin_t = midnight_before(end_t - 1)
        hours = sum(one.hours(begin_t, end_t) for one in sessions)
        if hours:
            label = time.strftime("%a %d", time.localtime(begin_t))
            found.append(Day(label, sum(one.usd(begin_t, end_t) for one in sessions), hours))
        end_t = begin_t
    return tuple(found)
