"""What a VM costs: now, in this session, today; and what a run or a transfer will. Every figure is an estimate."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from remote.cost.ledger import Ledger, SeenVm, Session, current_session, runs_since
from remote.cost.midnight import midnight_before
from remote.cost.prices import Price, PricedVm, PriceUnknown, egress_usd, price_of
from remote.hosts.settings import HostSettings
from t2v_core.workspace import Workspace

__all__ = [
    "HostCost",
    "Meter",
    "PriceUnknown",
    "RunForecast",
    "egress_usd",
    "forecast_run",
    "meter",
    "price_of",
]


class BilledVm(PricedVm, SeenVm, Protocol):
    """As much of remote.gce.vm_state.VmState as money depends on."""


@dataclass(frozen=True)
class Meter:
    """What is being paid.

    usd_per_hour:      now: 0 while it is stopped, when only the disks are paid for
    since_t:           Unix time of the start; None while it is stopped
    usd_session:       from its start until now
    usd_today:         from midnight, by this machine's clock: every session as far as it was seen from here
    disk_usd_per_hour: while it is stopped as well, and while it runs part of usd_per_hour
    """

    usd_per_hour: float
    since_t: float | None
    hours: float
    usd_session: float
    usd_today: float
    disk_usd_per_hour: float
    is_estimate: bool
    date: dt.date | None


def meter(vm: SeenVm, now_t: float, price: Price, sessions: Sequence[Session] = ()) -> Meter:
    """Return what is paid at `now_t`, by the provider's word when the VM was started.

    sessions: what the ledger has of it; the VM's own last one need not be among them
    """
    since_t, last = runs_since(vm), current_session(vm, price.usd_per_hour)
    ran = {one.key: one for one in sessions if one.stopped_t is not None}
    if last is not None:
        ran.setdefault(last.key, last)
    begin_t = midnight_before(now_t)
    hours = 0.0 if since_t is None else max(0.0, now_t - since_t) / 3600
    return Meter(
        usd_per_hour=0.0 if since_t is None else price.usd_per_hour,
        since_t=since_t,
        hours=hours,
        usd_session=hours * price.usd_per_hour,
        usd_today=sum(one.usd(begin_t, now_t) for one in ran.values()),
        disk_usd_per_hour=price.disk_usd_per_hour,
        is_estimate=price.is_estimate,
        date=price.date,
    )


@dataclass(frozen=True)
class RunForecast:
    """What a run will cost.

    is_beyond_cap: the VM stops by itself before the run is done
    """

    usd: float
    hours: float
    is_beyond_cap: bool


def forecast_run(hours: float, price: Price, *, hours_up: float = 0.0, max_run_h: float | None = None) -> RunForecast:
    """Return what so many hours will cost, beginning now.

    hours_up:  since the VM was started
    max_run_h: hours after which it stops whatever it does
    """
    return RunForecast(hours * price.usd_per_hour, hours, max_run_h is not None and hours_up + hours > max_run_h)


@dataclass(frozen=True)
class HostCost:
    """What one host of t2v.toml costs, and what was spent on it as seen from this workspace."""

    ledger: Ledger
    usd_per_hour: float | None = None

    @classmethod
    def of(cls, workspace: Workspace, name: str, settings: HostSettings) -> HostCost:
        """Return the costs of a host of t2v.toml; nothing is read yet."""
        return cls(Ledger.of(workspace, name), settings.usd_per_hour)

    def price(self, vm: PricedVm) -> Price:
        """Return what an hour of it costs. Raises PriceUnknown."""
        return price_of(vm, usd_per_hour=vm.usd_per_hour if self.usd_per_hour is None else self.usd_per_hour)

    def see(self, vm: BilledVm, now_t: float | None = None) -> Meter:
        """Return the meter, after what is new has been written down.

        Raises PriceUnknown; then that is written all the same.

        now_t: Unix time (default: now)
        """
        try:
            price = self.price(vm)
        except PriceUnknown:
            self.ledger.see(vm, None)
            raise
        sessions = self.ledger.see(vm, price.usd_per_hour)
        return meter(vm, time.time() if now_t is None else now_t, price, sessions)
