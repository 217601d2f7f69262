"""What is said on the terminal when the app is left: what goes on, what it costs, when it stops, how to come back."""

from __future__ import annotations

import shlex

from t2v_tui.headline import stops_in, truth
from t2v_tui.state import HostKind, Power, Reach, State
from t2v_tui.words import JOB_GLYPHS, job_in_words, usd


def farewell(state: State, now_t: float, command: str) -> list[str]:
    """command: that opens the app again"""
    lines = []
    for job in state.alive:
        words = job_in_words(job.row)
        lines.append(f"{JOB_GLYPHS.get(job.row.state, ' ')} {job.row.verb} {job.row.state} on {job.key.host}"
                     + (f": {words}" if words else "") + f"   (t2v attach {job.key.job})")  # fmt: skip
    for host in state.hosts.values():
        if host.kind is not HostKind.VM or host.vm is None or host.vm.power is Power.STOPPED:
            continue
        is_known = host.vm.power is not Power.UNKNOWN or host.link.reach is Reach.UP
        if not is_known:
            continue
        is_so = truth(host, now_t)
        cost = host.cost
        money = f", {usd(cost.up_usd_per_hour)}/h, {usd(cost.today(now_t))} today" if cost else ""
        stops = stops_in(host, now_t)
        lines.append(f"{is_so.glyph} {host.name} is {is_so.word.lower()}{money}" + (f", {stops}" if stops else "")
                     + f"   (t2v vm stop {shlex.quote(host.name)})")  # fmt: skip
    if not lines:
        return []
    return [
        "These go on:" if len(lines) > 1 else "This goes on:",
        *(f"  {line}" for line in lines),
        f"Come back: {command}",
    ]
