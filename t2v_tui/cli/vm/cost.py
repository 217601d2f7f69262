"""`t2v vm cost` and `t2v vm keep`: what a VM costs, what was spent on it, and that it stays a while longer."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from remote.cost.ledger import Session
from remote.cost.meter import HostCost, Meter
from remote.cost.midnight import midnight_before
from remote.cost.prices import HOURS_A_MONTH, Price, PriceUnknown
from remote.errors import CloudError, HostUnreachable
from remote.guard import GuardState
from remote.guard import keep as keep_up
from remote.host_factory import host_named, switched_host
from remote.hosts.settings import HostSettings, switched_hosts
from remote.power.state import MachineState
from t2v_core.errors import InvalidRequest
from t2v_core.format import date_time, duration, span, usd
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace

SHOWN_SESSIONS = 10
UNITS_S = {"d": 86_400, "h": 3600, "m": 60, "min": 60, "s": 1}
Which = Annotated[
    str | None,
    typer.Option("--host", metavar="NAME", help="VM of t2v.toml (default: the only one).", show_default=False),
]


def cost(ctx: typer.Context, host: Which = None) -> int:
    """Show what a VM costs now, in this session and today, and what it cost while it was stopped.

    Prices come from a dated table and are an estimate, without discounts or tax. What you really pay an hour can be
    written into t2v.toml as usd_per_hour. Sessions are those seen from this workspace.

    \b
    Examples:
      t2v vm cost
      t2v --json vm cost --host a100-golden
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    name, settings = which_vm(host, workspace)
    costs = HostCost.of(workspace, name, settings)
    try:
        vm = switched_host(name, workspace).vm.state()
        meter, price = costs.see(vm), costs.price(vm)
    except (CloudError, HostUnreachable, PriceUnknown):
        show(history(costs.ledger.sessions(), time.time()))
        raise
    sessions = costs.ledger.sessions()
    if common.as_json:
        print(json.dumps(as_json(name, vm, meter, price, sessions), indent=2))
    else:
        show([*figures(vm, meter, price, unpriced(sessions, time.time())), *history(sessions, time.time())])
    return 0


def show(lines: Iterable[str]) -> None:
    """Print the lines to stdout."""
    for line in lines:
        print(line)


def which_vm(name: str | None, workspace: Workspace) -> tuple[str, HostSettings]:
    """Return the VM that is meant. Raises InvalidRequest when there is none, or several and none was named."""
    vms = switched_hosts(workspace)
    if name is None and len(vms) == 1:
        return next(iter(vms.items()))
    if name in vms:
        return name, vms[name]
    known = ", ".join(vms)
    if name is None:
        sentence = f"which VM: {known}?" if vms else f"{workspace.settings_file} names no VM"
        raise InvalidRequest(sentence, hint="--host NAME" if vms else 'add [host.NAME] and provider = "gcloud"')
    hint = f"there is: {known}" if vms else f'add [host.{name}] and provider = "gcloud"'
    raise InvalidRequest(f"{workspace.settings_file} has no VM '{name}'", hint=hint)


def unpriced(sessions: Sequence[Session], now_t: float) -> float:
    """Return hours of today whose price was not known, and so are not among what was spent."""
    return sum(one.hours(midnight_before(now_t), now_t) for one in sessions if one.usd_per_hour is None)


def figures(vm: MachineState, meter: Meter, price: Price, unpriced_h: float = 0.0) -> Iterator[str]:
    """Yield a line each for now, this session, today, and the disks."""
    label = f"est., prices of {price.date}" if meter.is_estimate else "as t2v.toml says"
    beside = "; ".join(filter(None, (vm.status, label, price.note)))
    yield f"now      {usd(meter.usd_per_hour)}/h  {beside}"
    if meter.since_t is not None:
        for part, amount in price.parts:
            yield f"           {amount:.4f}  {part}"
        yield f"session  {usd(meter.usd_session)}  {duration(meter.hours * 3600)} since {date_time(meter.since_t)}"
    else:
        yield f"running  {usd(price.usd_per_hour)}/h"
    without = f"  without {unpriced_h:.2f} h whose price was not known" if unpriced_h else ""
    yield f"today    {usd(meter.usd_today)}{without}"
    month = meter.disk_usd_per_hour * HOURS_A_MONTH
    yield f"disks    {usd(meter.disk_usd_per_hour)}/h  {usd(month)} a month, also while it is stopped"


def history(sessions: list[Session], now_t: float) -> Iterator[str]:
    """Yield the last sessions, a line each; nothing when none was seen."""
    if sessions:
        yield f"{'started':<17} {'stopped':<17} {'hours':>7}  cost"
    for one in sessions[-SHOWN_SESSIONS:]:
        stopped = "runs" if one.stopped_t is None else ("" if one.is_exact else "by ") + date_time(one.stopped_t)
        amount = "not known" if one.usd_per_hour is None else usd(one.usd(0, now_t))
        yield f"{date_time(one.started_t):<17} {stopped:<17} {one.hours(0, now_t):>7.2f}  {amount}"


def as_json(name: str, vm: MachineState, meter: Meter, price: Price, sessions: list[Session]) -> dict[str, Any]:
    """Return costs and sessions as values for JSON; amounts are US dollars."""
    return {
        "host": name, "state": vm.status, "machine_type": vm.machine_type, "is_spot": vm.is_spot,
        **asdict(meter), "date": str(meter.date) if meter.date else None,
        "running_usd_per_hour": price.usd_per_hour, "parts": dict(price.parts), "note": price.note,
        "sessions": [asdict(one) for one in sessions],
    }  # fmt: skip


def keep(
    ctx: typer.Context,
    how_long: Annotated[str, typer.Argument(metavar="TIME", help="For example 2h, 90m or 1h30m; 0 ends it.")],
    host: Which = None,
) -> int:
    """Keep a VM from stopping itself for this long, even when it is idle. Its cap of max_run_h still applies.

    \b
    Examples:
      t2v vm keep 2h
      t2v vm keep 0
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    seconds = seconds_of(how_long)
    name, _ = which_vm(host, workspace)
    there = host_named(name, workspace)
    try:
        state = keep_up(there, seconds)
    finally:
        there.close()
    if common.as_json:
        print(json.dumps(asdict(state), indent=2))
    else:
        print(keep_words(name, state, time.time()), file=sys.stderr)
    return 0


def seconds_of(text: str) -> float:
    """Return the seconds of `2h`, `90m`, `1h30m`, `45 min`, `0`. Raises InvalidRequest."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)\s*", text.strip().lower())
    if text.strip() == "0":
        return 0.0
    if not parts or "".join(n + unit for n, unit in parts) != re.sub(r"\s", "", text.lower()):
        raise InvalidRequest(f"'{text}' is not a duration", hint="for example: t2v vm keep 2h, or 90m, or 1h30m")
    return sum(float(number) * UNITS_S[unit] for number, unit in parts)


def keep_words(name: str, state: GuardState, now_t: float) -> str:
    """Return `a100-golden stays until 14:05; …`"""
    until = state.kept_until_t
    begin = f"{name} is no longer kept on" if until is None else f"{name} is kept until {date_time(until)}"
    if state.stops_t is None:
        return begin
    return f"{begin}; it stops in {span(state.stops_t - now_t)}: {state.why}"
