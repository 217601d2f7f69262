"""What screens say of hosts that were asked and have not answered yet, or are not heard: never the same as nothing."""

from __future__ import annotations

from collections.abc import Sequence

from t2v_core.format import ago, duration, usd
from t2v_tui.store.state import HostKind, HostView, JobKey, Reach, State
from t2v_tui.text.headline import is_off

RECONNECT = "R tries now"


def waits(host: HostView) -> bool:
    """Tell whether it was asked, or is about to be, and nothing came yet."""
    return host.link.reach in (Reach.ASKING, Reach.CACHED) and not is_off(host)


def is_lost(host: HostView) -> bool:
    """Tell whether another machine is not heard, and its provider does not say that it is off."""
    return host.kind is not HostKind.LOCAL and host.link.reach is Reach.LOST and not is_off(host)


def asked(host: HostView, now_t: float, what: str = "") -> str:
    """Return `◌ asking a100-golden for its jobs, 12 s so far`; what: `its jobs`"""
    link = host.link
    so_far = f", {ago(now_t - link.since_t)} so far" if link.reach is Reach.ASKING and link.since_t else ""
    return f"◌ asking {host.name}{f' for {what}' if what else ''}{so_far}"


def instead_of_empty(hosts: Sequence[HostView], what: str, now_t: float) -> str:
    """Return what stands where a list is empty, as long as not every host has said so; nothing when all have.

    what: is asked for, as `its jobs`
    """
    lines = [asked(host, now_t, what) for host in hosts if waits(host)]
    for host in hosts:
        if is_lost(host):
            lines += [f"◐ {host.name} is not heard for {duration(now_t - host.link.since_t)}: {host.link.why}"]
            lines += [f"  → {host.link.hint}"] if host.link.hint else []
    if not lines:
        return ""
    then = "What is there appears here with the answer. R asks again now, h chooses another host."
    return "\n".join([*lines, "", then])


def not_heard(host: HostView, now_t: float, cells: int) -> str:
    """Return why, how old what is shown is, what it goes on costing, what to do: as much as `cells` have room for.

    Nothing for a host that is heard, asked, off, or here.
    """
    if not is_lost(host):
        return ""
    seen_t, cost = host.link.seen_t, host.cost
    age = f"as of {ago(now_t - seen_t)} ago" if seen_t else "never heard"
    costs = f"still {usd(cost.usd_per_hour)}/h" if cost is not None and cost.usd_per_hour else ""
    why = f"not heard: {host.link.why}"
    for parts in ((why, age, costs, RECONNECT), (age, costs, RECONNECT), (age, costs), (age,)):
        said = "◐ " + " · ".join(filter(None, parts))
        if len(said) <= cells:
            break
    return said


def not_heard_of(state: State, job: JobKey | None, now_t: float, cells: int) -> str:
    """Return the same for the host of a job; nothing when there is no job, or its host is not known."""
    host = state.hosts.get(job.host) if job is not None else None
    return not_heard(host, now_t, cells) if host is not None else ""
