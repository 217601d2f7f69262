"""The line that is always there: what works, whether it is heard, what it costs, when it stops. Pure, for any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len

from remote.power.state import Power
from t2v_core.format import ago, duration, span, usd
from t2v_tui.store.state import HostKind, HostView, Reach, State

# Below this many columns the short form is taken.
WIDE = 110
# A host that is heard is heard every few seconds.
OLD_S = 10.0


class Tone(StrEnum):
    """How words stand out. Never the only sign: each state has a glyph and a word."""

    PLAIN = "plain"
    DIM = "dim"
    ACCENT = "accent"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Piece:
    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Truth:
    """What is known of a host, in one of three ways: heard just now, not heard, or off by its provider's word.

    short: of the word, for 80 columns
    brief: of the detail, where there is no room for it
    age:   of the detail, for 80 columns
    """

    glyph: str
    word: str
    short: str
    tone: Tone
    detail: str = ""
    brief: str = ""
    age: str = ""


def is_off(host: HostView) -> bool:
    """Tell whether it is off by its provider's word, and not heard since."""
    vm, link = host.vm, host.link
    if vm is None or vm.power is not Power.STOPPED:
        return False
    return link.reach is not Reach.UP or (vm.seen_t or 0.0) > (link.seen_t or 0.0)


def truth(host: HostView, now_t: float) -> Truth:
    """Return what is known of a host.

    Losing the link says nothing about the machine: only its provider says that it is off.
    """
    link, vm = host.link, host.vm
    if host.kind is HostKind.LOCAL:
        return Truth("●", "HERE", "HERE", Tone.GOOD, "this machine")
    is_turning = vm is not None and vm.power in (Power.STARTING, Power.STOPPING) and link.reach is not Reach.UP
    if vm is not None and (is_turning or is_off(host)):
        return _powered(vm.power, now_t - vm.seen_t if vm.seen_t else None)
    if link.reach is Reach.UP:
        age_s = now_t - (link.seen_t or now_t)
        return Truth(
            "●", "RUNNING", "RUN", Tone.GOOD, f"seen {ago(age_s)} ago", age=span(age_s) if age_s > OLD_S else ""
        )
    if link.reach is Reach.LOST:
        return _unreachable(host, now_t)
    known = f"known {ago(now_t - link.seen_t)} ago" if link.seen_t else "not seen yet"
    age = span(now_t - link.seen_t) if link.seen_t else ""
    if link.reach is Reach.CACHED:
        running = vm is None or vm.power in (Power.RUNNING, Power.UNKNOWN)
        word, short = ("WAS RUNNING", "WAS RUN") if running and link.seen_t else ("NOT ASKED", "UNASKED")
        return Truth("◌", word, short, Tone.DIM, known, age=age)
    return Truth("◌", "CONNECTING", "CONN", Tone.DIM, known, age=age)


def _powered(power: Power, age_s: float | None) -> Truth:
    confirmed, age = (f"confirmed {ago(age_s)} ago", span(age_s)) if age_s is not None else ("", "")
    if power is Power.STOPPED:
        return Truth("○", "STOPPED", "STOP", Tone.DIM, confirmed, age=age)
    if power is Power.STARTING:
        return Truth("◔", "STARTING", "START", Tone.ACCENT, confirmed, age=age)
    return Truth("◑", "STOPPING", "STOPS", Tone.WARN, confirmed, age=age)


def _unreachable(host: HostView, now_t: float) -> Truth:
    since = duration(now_t - host.link.since_t) if host.link.since_t else ""
    brief = since
    if host.vm is not None and host.vm.power is Power.RUNNING:
        known = (
            f"running by {host.vm.asked} {ago(now_t - host.vm.seen_t)} ago" if host.vm.seen_t else "last known running"
        )
        detail, brief = f"{since} · {known}, still costing", f"{since}, still costing"
    elif host.link.seen_t:
        detail = f"{since} · last known running {ago(now_t - host.link.seen_t)} ago"
    else:
        detail = f"{since} · never seen"
    return Truth("◐", "UNREACHABLE", "UNREACH", Tone.WARN, detail, brief, since)


def headline(state: State, now_t: float, width: int) -> tuple[list[Piece], list[Piece]]:
    """Return left and right part of the line, for so many columns.

    What matters less goes first when there is no room.
    """
    if width < WIDE:
        return _narrow(state, now_t, width - 2)
    for job in _job_forms(state):
        right = _right(state, job)
        room = width - _width(right) - 3
        for about in _abouts(state, now_t):
            left = _wide(state, now_t, about)
            if _width(left) <= room:
                return left, right
    return _wide(state, now_t, ""), right


def _width(pieces: Sequence[Piece]) -> int:
    return sum(cell_len(piece.text) for piece in pieces)


def _wide(state: State, now_t: float, about: str) -> list[Piece]:
    host = state.chosen
    is_so = truth(host, now_t)
    left = [Piece("t2v ", Tone.ACCENT), Piece(f"{is_so.glyph} {is_so.word}", is_so.tone), Piece(f" {host.name}")]
    left += [Piece(f"  {about}", Tone.DIM)] if about else []
    money = [Piece(f"  {text}", tone) for text, tone in costs(host, now_t)]
    return left + ([Piece("  │", Tone.DIM), *money] if money else [])


def _abouts(state: State, now_t: float) -> Iterator[str]:
    """What is said of a host beside its state, from all of it to what is never left out.

    That is how it was seen, and of a VM that is only played that it is: nobody pays the price beside it.
    """
    host = state.chosen
    is_so = truth(host, now_t)
    detail = is_so.detail
    machine, zone = (host.vm.machine, host.vm.zone) if host.vm else ("", "")
    played = "simulated" if host.vm and host.vm.is_simulated else ""
    for parts in (
        (played, f"{machine} {zone}".strip(), detail),
        (played, machine, detail),
        (played, detail),
        (played or detail,),
    ):
        yield " · ".join(filter(None, parts))
    if is_so.brief:
        yield " · ".join(filter(None, (played, is_so.brief)))


def _narrow(state: State, now_t: float, width: int) -> tuple[list[Piece], list[Piece]]:
    """Of the job the most there is room for beside all that is to be known of the host; uptime goes before money."""
    host = state.chosen
    is_so = truth(host, now_t)
    for is_short in (False, True):
        left = [Piece(f"{is_so.glyph} {is_so.short}", is_so.tone), Piece(f" {host.name}")]
        left += [Piece(f" {is_so.age}", Tone.WARN if is_so.tone is Tone.WARN else Tone.DIM)] if is_so.age else []
        money = costs(host, now_t, is_short=True)
        left += [Piece(f"  {text}", tone) for text, tone in (money[1:] if is_short and _uptime(host, now_t) else money)]
        for job in _job_forms(state):
            right = _right(state, job)
            if _width(left) + _width(right) + 1 <= width:
                return left, right
    return left, right


def costs(host: HostView, now_t: float, *, is_short: bool = False) -> list[tuple[str, Tone]]:
    """Return uptime, what an hour costs, what today cost, when it stops by itself.

    Nothing for a host that costs nothing.
    """
    found: list[tuple[str, Tone]] = []
    cost, guard = host.cost, host.guard
    if up := _uptime(host, now_t):
        found.append((up, Tone.PLAIN))
    if cost is not None:
        approx = "~" if cost.is_estimate else ""
        disk = f" (disk {usd(cost.disk_usd_per_hour)}/h)" if not cost.usd_per_hour and not is_short else ""
        found.append((f"{approx}{usd(cost.usd_per_hour)}/h{disk}", Tone.ACCENT if cost.usd_per_hour else Tone.PLAIN))
        found.append((f"{usd(cost.today(now_t))} today", Tone.PLAIN))
    if guard is not None and (words := stops_in(host, now_t)):
        found.append((_shortened(words) if is_short else words, Tone.PLAIN))
    return found


def _uptime(host: HostView, now_t: float) -> str:
    vm = host.vm
    return f"up {span(now_t - vm.started_t)}" if vm and vm.started_t and vm.power is Power.RUNNING else ""


def _shortened(stops: str) -> str:
    return stops.replace("stops when idle", "idle stop").replace("stops in", "stop").replace("kept on", "kept")


def stops_in(host: HostView, now_t: float) -> str:
    """Return `stops in 25m`; `kept on 2h00m`; nothing while it is not known."""
    guard = host.guard
    if guard is None:
        return ""
    if guard.kept_until_t and guard.kept_until_t > now_t:
        return f"kept on {span(guard.kept_until_t - now_t)}"
    if guard.is_busy:
        return "stops when idle"
    if guard.stops_t is None or (guard.stops_t < now_t and host.link.reach is not Reach.UP):
        return ""
    return f"stops in {span(guard.stops_t - now_t)}"


def _job_forms(state: State) -> tuple[str, ...]:
    """How far the shown job is, from all of it to nothing."""
    run, job = state.shown_run, state.shown_job
    if run is None or job is None or job.row.has_ended or not run.total:
        return ("",)
    share = f"{run.done / run.total:4.0%}"
    left = f" {duration(run.time_left_s)}" if run.time_left_s is not None else ""
    return f"{job.row.verb} {share}{left}", f"{job.row.verb} {share}", share.strip(), ""


def _right(state: State, job: str) -> list[Piece]:
    """The job, and how long a question takes to the host and back."""
    pieces = [Piece(f"{job}  ", Tone.ACCENT)] if job else []
    latency_s = state.chosen.link.latency_s
    if state.chosen.kind is not HostKind.LOCAL and latency_s is not None and _is_heard(state.chosen):
        pieces.append(Piece(f"{max(1, round(latency_s * 1000)):>3} ms", Tone.DIM))
    return pieces


def _is_heard(host: HostView) -> bool:
    return host.link.reach is Reach.UP and not is_off(host)


def in_one_line(state: State, columns: int, rows: int) -> str:
    """Return the line for a terminal that is too small for anything else."""
    alive = len(state.alive)
    goes_on = f" · {alive} job{'s' if alive > 1 else ''} go{'es' if alive == 1 else ''} on" if alive else ""
    cost = state.chosen.cost
    money = f" · {usd(cost.usd_per_hour)}/h" if cost and cost.usd_per_hour else ""
    return f"terminal {columns}x{rows}: t2v needs 60x15{goes_on}{money}"
