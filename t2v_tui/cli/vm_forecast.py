"""What a training will cost on a VM: from an estimate before anybody starts it, and from its own pace once it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from remote.cost import HostCost, RunForecast, forecast_run
from remote.errors import RemoteError
from remote.hosts import Host
from remote.prices import Price
from t2v_core.events import Event
from t2v_core.workspace import Workspace
from t2v_tui.cli.narrate import Pace, counted
from t2v_tui.words import duration, usd

# The first steps are slow: kernels are chosen, caches are filled.
TELLING_S = 30.0
PAST_S = 120.0  # what was said before is heard again by whoever attaches; two clocks may differ


def cost_of_estimate(host: Host, workspace: Workspace, result: Mapping[str, Any]) -> str:
    """A sentence; "" when the host is not paid by the hour, or the result says no time."""
    from remote.gce_host import GceHost  # noqa: PLC0415 - no other host needs the cloud

    timed = result.get("time")
    if not isinstance(host, GceHost) or not isinstance(timed, dict) or "total_s" not in timed:
        return ""
    try:
        vm, price = host.state, HostCost.of(workspace, host.name, host.settings).price(host.state)
    except RemoteError as error:
        return f"what it costs is not known: {error.message}"
    hours_up = max(0.0, time.time() - vm.last_start_t) / 3600 if vm.last_start_t is not None else 0.0
    cap_h = host.settings.max_run_h
    return in_words(forecast_run(timed["total_s"] / 3600, price, hours_up=hours_up, max_run_h=cap_h), price, cap_h)


class Forecast:
    """Says once what the rest of a training will cost, by its own pace; nothing where nobody pays by the hour."""

    def __init__(self, host: Host, workspace: Workspace) -> None:
        self._host, self._workspace, self._pace = host, workspace, Pace()
        self._first_t: float | None = None
        self._is_said = False

    def of(self, event: Event) -> str:
        """A sentence, or "" when there is none to say now."""
        count = counted(event) if event.kind == "step" and not self._is_said else None
        if count is None:
            return ""
        self._pace.report(event.t, count[0])
        self._first_t = event.t if self._first_t is None else self._first_t
        rate = self._pace.per_s()
        is_past = time.time() - event.t > PAST_S
        if rate is None or event.t - self._first_t < TELLING_S or is_past:
            return ""
        self._is_said = True
        left_s = (count[1] - count[0]) / rate
        cost = cost_of_estimate(self._host, self._workspace, {"time": {"total_s": left_s}})
        return f"{duration(left_s)} to go: {cost.replace(' in all', ' for that', 1)}" if cost else ""


def in_words(forecast: RunForecast, price: Price, cap_h: float) -> str:
    """`about $71.50 in all, at $3.71 an hour (est.); …`"""
    about = " (est.)" if price.is_estimate else ""
    cap = (
        f"; it stops {cap_h:g} h after its start, before that is done: raise max_run_h"
        if forecast.is_beyond_cap
        else ""
    )
    return f"about {usd(forecast.usd)} in all, at {usd(price.usd_per_hour)} an hour{about}{cap}"
