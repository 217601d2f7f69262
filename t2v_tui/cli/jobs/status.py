"""`t2v status`: what the terminal UI shows, as plain text or JSON: for screen readers, scripts and prompts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from remote.errors import UNREACHABLE
from remote.power.state import Power
from t2v_core.errors import EngineError
from t2v_core.format import ago, span, usd
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace
from t2v_tui.store.events import HostsKnown, LinkReceived, News, Remembered, RowsReceived
from t2v_tui.store.reducer import reduce
from t2v_tui.store.session import recall
from t2v_tui.store.state import LOCAL, HostKind, HostView, JobView, LinkView, Reach, State
from t2v_tui.text.headline import stops_in, truth
from t2v_tui.text.job_words import JOB_GLYPHS, alarm_in_words, job_in_words
from t2v_tui.workers.services import Services

MOST_ENDED = 3


def status(
    ctx: typer.Context,
    is_all: Annotated[
        bool, typer.Option("--all", help="Ask every host of t2v.toml now, not only this machine.")
    ] = False,
    workspace_: Annotated[
        Path | None, typer.Option("--workspace", metavar="DIR", help="Workspace to use.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write it to stdout as JSON.")] = False,
) -> int:
    """What runs, how far it is, what it costs and when it stops: the terminal UI in plain text.

    Without --all only this machine is asked; for the others it shows what was last known, with its age.

    \b
    Examples:
      t2v status
      t2v status --all --json

    It goes to stdout. Exit code 3 when a host that was asked cannot be reached.
    """
    common: Common = ctx.obj
    workspace = find_workspace(workspace_ or common.workspace, os.environ)
    services = Services(workspace)
    try:
        state = ask_hosts(services, recall_into(State(workspace.root), services), is_all=is_all)
    finally:
        services.close()
    now_t = time.time()
    if as_json or common.as_json:
        print(json.dumps(as_values(state, now_t), ensure_ascii=False))
    else:
        for line in in_lines(state, now_t):
            print(line)
    lost = any(host.link.reach is Reach.LOST for host in state.hosts.values())
    return UNREACHABLE if lost else 0


def recall_into(state: State, services: Services) -> State:
    """Return the state with what was known last of every host and its jobs."""
    memory = recall(services.workspace)
    state = reduce(state, HostsKnown(services.hosts()))
    state = reduce(state, Remembered(memory.hosts, services.remembered(), memory.host or LOCAL, memory.shown))
    return replace(state, hosts={name: replace(host, link=_as_known(host)) for name, host in state.hosts.items()})


def _as_known(host: HostView) -> LinkView:
    return replace(host.link, reach=Reach.CACHED) if host.kind is not HostKind.LOCAL else host.link


def ask_hosts(services: Services, state: State, *, is_all: bool) -> State:
    """Ask, all at once; a host that does not answer keeps what was known of it."""
    names = list(state.hosts) if is_all else [LOCAL]
    with ThreadPoolExecutor(max_workers=8) as pool:
        for heard in pool.map(lambda name: list(_asked(services, name)), names):
            for news in heard:
                state = reduce(state, news)
    return state


def _asked(services: Services, name: str) -> Iterator[News]:
    try:
        provider = services.provider(name)
        if provider is not None:
            heard = provider.look()
            yield heard
            if heard.vm.power is Power.STOPPED:
                return
            yield replace(heard, guard=provider.guard(services.host(name)))
        answer = services.rows(name)
    except EngineError as error:
        yield LinkReceived(name, LinkView(Reach.LOST, time.time(), None, None, error.message, error.hint))
        return
    now_t = time.time()
    yield LinkReceived(name, LinkView(Reach.UP, now_t, now_t, answer.latency_s))
    yield RowsReceived(name, answer.rows, now_t)


def in_lines(state: State, now_t: float) -> Iterator[str]:
    """Yield one line a host, then one a job that has not ended, then the last that have."""
    for host in state.hosts.values():
        yield host_line(host, now_t)
    alive = state.alive
    ended = sorted((job for job in state.jobs.values() if job.row.has_ended), key=lambda job: -(job.row.ended_t or 0.0))
    for job in [*alive, *ended[:MOST_ENDED]]:
        yield job_line(job, now_t)
    if not alive and not ended:
        yield "no jobs yet"


def job_line(job: JobView, now_t: float) -> str:
    """Return `● train running for 12 min on a100-golden: 120 of 400 steps, loss 0.31  (20261122-181501-train-3f2a)`"""
    row = job.row
    moment = row.ended_t or row.started_t or row.queued_t
    since = "" if moment is None else f", {ago(now_t - moment)} ago" if row.has_ended else f" for {ago(now_t - moment)}"
    words = job_in_words(row)
    said = f": {words}" if words else ""
    head = f"{JOB_GLYPHS.get(row.word, ' ')} {row.verb} {row.word}{since} on {job.key.host}{said}  ({row.job})"
    return "\n  ".join(filter(None, (head, alarm_in_words(row, now_t))))


def host_line(host: HostView, now_t: float) -> str:
    """Return `● RUNNING a100-golden, seen 0 s ago, up 3h15m, $4.12/h, $13.39 today, stops in 25m`"""
    is_so = truth(host, now_t)
    parts = [f"{is_so.glyph} {is_so.word} {host.name}", is_so.detail]
    if host.vm is not None and host.vm.started_t and host.vm.power is Power.RUNNING:
        parts.append(f"up {span(now_t - host.vm.started_t)}")
    if host.cost is not None:
        parts += [f"{usd(host.cost.usd_per_hour)}/h", f"{usd(host.cost.today(now_t))} today"]
    parts.append(stops_in(host, now_t))
    if host.link.reach is Reach.LOST:
        parts.append(host.link.why)
    return ", ".join(filter(None, parts))


def as_values(state: State, now_t: float) -> dict[str, Any]:
    """Return the state as values for JSON.

    link: up, lost, asking, or cached when it was not asked; times are Unix seconds
    """
    return {
        "workspace": str(state.workspace),
        "hosts": [_host_values(host, now_t) for host in state.hosts.values()],
        "jobs": [
            {"host": job.key.host, "seen_t": job.seen_t, **job.row.to_json(), "state": job.row.word}
            for job in sorted(state.jobs.values(), key=lambda job: job.row.began_t)
        ],
    }  # fmt: skip


def _host_values(host: HostView, now_t: float) -> dict[str, Any]:
    vm, cost, guard = host.vm, host.cost, host.guard
    return {
        "name": host.name, "kind": host.kind, "state": truth(host, now_t).word.lower(), "link": host.link.reach,
        "seen_t": host.link.seen_t, "why": host.link.why, "latency_s": host.link.latency_s,
        "vm": vm.power if vm else None, "vm_seen_t": vm.seen_t if vm else None,
        "started_t": vm.started_t if vm else None,
        "usd_per_hour": cost.usd_per_hour if cost else None, "usd_today": round(cost.today(now_t), 4) if cost else None,
        "is_estimate": cost.is_estimate if cost else None, "stops_t": guard.stops_t if guard else None,
    }  # fmt: skip
