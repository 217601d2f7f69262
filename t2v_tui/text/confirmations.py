"""What is said before something is stopped, and what there is to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from remote.power.state import Power
from t2v_core.format import duration, usd
from t2v_tui.store.state import HostKind, JobKey, State
from t2v_tui.text.headline import truth
from t2v_tui.text.job_words import job_in_words

STOP_GRACE_S = 60
NOUNS = {"train": "training", "generate": "generation", "preprocess": "preprocessing"}


@dataclass(frozen=True)
class Question:
    """Something that costs or cannot be taken back.

    title: what will happen, with the name of the thing
    lines: what it costs, what is kept, what is lost
    yes:   the word on the button
    key:   that says yes; never the one that asked, so that a key pressed twice does nothing
    """

    title: str
    lines: Sequence[str]
    yes: str
    key: str


def about_stopping(state: State, key: JobKey, now_t: float) -> Question:
    """Return the question before a job is stopped: what is lost and what is kept."""
    job = state.jobs.get(key)
    verb = job.row.verb if job else "job"
    lines = [f"{key.job} on {key.host}"]
    if job is not None:
        if words := job_in_words(job.row):
            lines.append(words)
        if job.row.started_t:
            lines.append(f"it has run for {duration(now_t - job.row.started_t)}")
    lines.append("")
    if verb == "train":
        lines.append(f"It is asked first and saves a checkpoint; after {STOP_GRACE_S} s it is killed, with all "
                     "its processes. u in the panel of the next start continues from there.")  # fmt: skip
    else:
        lines.append(f"It is asked first; after {STOP_GRACE_S} s it is killed, with all its processes.")
    host = state.hosts.get(key.host)
    if host is not None and host.kind is HostKind.VM and host.cost is not None and host.cost.usd_per_hour:
        lines += ["", f"{key.host} stays on and costs {usd(host.cost.usd_per_hour)}/h until it stops itself."]
    return Question(f"Stop this {NOUNS.get(verb, verb)}?", lines, "Stop", "s")


def about_stopping_vm(state: State, host: str, now_t: float) -> Question:
    """Return the question before a VM is stopped: what still runs there, and what goes on costing."""
    view = state.hosts[host]
    alive = [job for job in state.alive if job.key.host == host]
    lines = [f"{job.row.verb} {job.key.job} is {job.row.state} there and will be ended" for job in alive]
    lines = lines or ["Nothing is running there."]
    if view.cost is not None:
        up, disk = usd(view.cost.up_usd_per_hour), usd(view.cost.disk_usd_per_hour)
        lines += ["", f"It stops costing {up}/h; its disk stays, {disk}/h."]
        lines += [f"Today it cost {usd(view.cost.today(now_t))}."]
    return Question(f"Stop {host}?", lines, "Stop it", "s")


def about_starting_vm(state: State, host: str) -> Question:
    """Return the question before a VM is started: what it will cost from then on."""
    cost = state.hosts[host].cost
    price = f"{usd(cost.up_usd_per_hour)}/h" if cost and cost.up_usd_per_hour else "by the hour; how much is not known"
    return Question(
        f"Start {host}?",
        [f"It will cost {price} until it is stopped.", "It stops by itself when it is idle: [host.*] idle_stop_min."],
        "Start it",
        "y",
    )


def hosts_to_choose(state: State, now_t: float) -> list[tuple[str, tuple[Text, ...]]]:
    """Return a row a host: its state, its name, and what it costs."""
    rows: list[tuple[str, tuple[Text, ...]]] = []
    for host in state.hosts.values():
        is_so = truth(host, now_t)
        price = f"{usd(host.cost.up_usd_per_hour)}/h" if host.cost else ""
        is_on = host.vm is None or host.vm.power is not Power.STOPPED
        detail = is_so.detail if is_on or host.vm is None else "work sent there starts it, once you say yes"
        rows.append((host.name, (Text(f"{is_so.glyph} {is_so.word}"), Text(host.name), Text(price), Text(detail))))
    return rows
