"""What is said on the terminal when the app is left: what goes on, what it costs, when it stops, how to come back."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from remote.power.state import Power
from t2v_core.format import usd
from t2v_tui.store.state import HostKind, HostView, JobView, LaunchPhase, Reach, State
from t2v_tui.text.headline import stops_in, truth
from t2v_tui.text.job_words import JOB_GLYPHS, job_in_words


def farewell(state: State, now_t: float, command: str, being_started: Collection[str] = ()) -> list[str]:
    """Return what goes on after the app is left, and how to come back; nothing when nothing goes on.

    command: that opens the app again; being_started: VMs whose start was asked and not confirmed yet
    """
    lines = [_job(job, state) for job in state.alive if not _is_off(state.hosts.get(job.key.host))]
    lines += [_vm(host, now_t) for host in state.hosts.values() if _goes_on(host)]
    wanted_up = {*being_started, *_launched_on(state)}
    lines += [_may_come_up(host) for host in state.hosts.values() if host.name in wanted_up and _is_paid(host)
              and not _goes_on(host)]  # fmt: skip
    if not lines:
        return []
    head = "These go on:" if len(lines) > 1 else "This goes on:"
    return [head, *(f"  {line}" for line in lines), f"Come back: {command}"]


def _job(job: JobView, state: State) -> str:
    words = job_in_words(job.row)
    host = state.hosts.get(job.key.host)
    is_played = host is not None and host.vm is not None and host.vm.is_simulated
    place = f" --workspace {shlex.quote(host.workdir)}" if is_played and host is not None else ""
    said = f": {words}" if words else ""
    how = f"t2v{place} attach {job.key.job}"
    return f"{JOB_GLYPHS.get(job.row.word, ' ')} {job.row.verb} {job.row.word} on {job.key.host}{said}   ({how})"


def _is_off(host: HostView | None) -> bool:
    """Nothing runs there, whatever was heard of its jobs last."""
    return host is not None and host.vm is not None and host.vm.power is Power.STOPPED


def _goes_on(host: HostView) -> bool:
    """A machine that costs, as far as is known; one that nobody could ask about may cost as well."""
    if host.kind is not HostKind.VM or host.vm is None or host.vm.power is Power.STOPPED:
        return False
    return host.vm.power is not Power.UNKNOWN or host.link.reach is Reach.UP


def _launched_on(state: State) -> tuple[str, ...]:
    """The host that work is just being started on."""
    launch = state.launch
    is_on_its_way = launch is not None and launch.phase is LaunchPhase.WORKING and launch.job is None
    return (launch.host,) if launch is not None and is_on_its_way else ()


def _is_paid(host: HostView) -> bool:
    return host.vm is not None and not host.vm.is_simulated


def _may_come_up(host: HostView) -> str:
    """A start that was asked of the cloud cannot be taken back."""
    price = f"costs {usd(host.cost.up_usd_per_hour)}/h" if host.cost is not None else "costs money"
    how = f"t2v vm stop --host {shlex.quote(host.name)}"
    return f"◔ {host.name} was being started: it may still come up, and then {price}   ({how})"


def _vm(host: HostView, now_t: float) -> str:
    is_so = truth(host, now_t)
    parts = [f"{is_so.glyph} {host.name} is {is_so.word.lower()}"]
    if host.cost is not None:
        parts += [f"{usd(host.cost.up_usd_per_hour)}/h", f"{usd(host.cost.today(now_t))} today"]
    parts.append(stops_in(host, now_t))
    is_played = host.vm is not None and host.vm.is_simulated
    how = "simulated: it costs nothing" if is_played else f"t2v vm stop --host {shlex.quote(host.name)}"
    return ", ".join(filter(None, parts)) + f"   ({how})"
