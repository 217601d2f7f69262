"""What a training that was estimated on a VM will cost there, said before anybody starts it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from remote.cost import HostCost, RunForecast, forecast_run
from remote.errors import RemoteError
from remote.hosts import Host
from remote.prices import Price
from t2v_core.workspace import Workspace
from t2v_tui.words import usd


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


def in_words(forecast: RunForecast, price: Price, cap_h: float) -> str:
    """`about $71.50 in all, at $3.71 an hour (est.); …`"""
    about = " (est.)" if price.is_estimate else ""
    cap = (
        f"; it stops {cap_h:g} h after its start, before that is done: raise max_run_h"
        if forecast.is_beyond_cap
        else ""
    )
    return f"about {usd(forecast.usd)} in all, at {usd(price.usd_per_hour)} an hour{about}{cap}"
