"""Where a day begins, for what was spent in it."""

from __future__ import annotations

import time


def midnight_before(now_t: float) -> float:
    """Return the last midnight of this machine's time zone; a day may have 23 or 25 hours."""
    day = time.localtime(now_t)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
