"""What is paid for a VM, between two looks at it."""

from __future__ import annotations

from dataclasses import dataclass

from remote.cost.midnight import midnight_before


@dataclass(frozen=True)
class CostView:
    """What is paid, as it was at `at_t`; while the VM runs it grows by `usd_per_hour`.

    usd_per_hour:    now
    up_usd_per_hour: while it runs
    """

    usd_per_hour: float
    usd_today: float
    usd_session: float
    disk_usd_per_hour: float
    at_t: float
    is_estimate: bool = True
    up_usd_per_hour: float = 0.0

    def today(self, now_t: float) -> float:
        """Return US dollars paid since midnight.

        What was paid yesterday is none of it, also when nobody has asked since.
        """
        begin_t = midnight_before(now_t)
        before = self.usd_today if self.at_t >= begin_t else 0.0
        return before + max(0.0, now_t - max(self.at_t, begin_t)) / 3600 * self.usd_per_hour

    def session(self, now_t: float) -> float:
        """Return US dollars paid in this session until `now_t`."""
        return self.usd_session + max(0.0, now_t - self.at_t) / 3600 * self.usd_per_hour
