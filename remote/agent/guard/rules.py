"""When an idle machine stops itself: a pure function of what was seen, what was agreed, and the time since boot.

Time is that of CLOCK_BOOTTIME, seconds since the machine started: nobody sets it, and a restart begins it anew. The
wall clock decides nothing here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

# How often a look comes, and how long after one the next must have come: what happened in a longer gap (the guard was
# killed, the machine slept) nobody saw, and what was not seen is not idle. Tests do not wait a minute.
EVERY_S = float(os.environ.get("T2V_GUARD_EVERY_S", "60"))
LONGEST_GAP_S = 3.5 * max(EVERY_S, 60.0)
# Before the cap the running jobs are asked to end: a checkpoint takes seconds to a minute.
LAST_WORD_S = 180.0

NOTHING, ASK_JOBS, POWER_OFF = "nothing", "ask jobs to end", "power off"


class Rules(NamedTuple):
    """What was agreed.

    idle_s:      without work
    cap_s:       since boot, whatever it does
    gpu_percent: more is work
    cap_from_s:  up_s from which the cap counts: a machine that was up for days when it got its guard has it from then
    """

    idle_s: float = 1800.0
    cap_s: float = 86400.0
    gpu_percent: float = 5.0
    cap_from_s: float = 0.0


class Look(NamedTuple):
    """What is seen at one moment.

    up_s:    since boot
    busy:    why it is at work, in words
    unknown: what could not be seen, in words; counts as busy, since nobody knows better
    stamps:  by terminal, the time of its last use as the kernel wrote it down; None where nobody looked
    """

    boot_id: str | None
    up_s: float
    busy: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    stamps: Mapping[str, float] | None = None


class GuardMemory(NamedTuple):
    """What is kept from look to look. looked_s, active_s: up_s of the last look, and of the last that was not idle."""

    boot_id: str | None
    looked_s: float
    active_s: float
    busy: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    stamps: Mapping[str, float] | None = None


class Outlook(NamedTuple):
    """What will happen if nothing changes. stops_in_s: 0 when it is due."""

    stops_in_s: float
    why: str


def remembered(said: Mapping[str, Any] | None) -> GuardMemory | None:
    """Return what a file says as a GuardMemory; None for one that is none of ours, whatever it holds."""
    if said is None:
        return None
    try:
        looked_s, active_s = float(said["looked_s"]), float(said["active_s"])
        busy, unknown = (tuple(map(str, said[name])) for name in ("busy", "unknown"))
        boot_id = said["boot_id"]
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    is_ours = -math.inf < active_s <= looked_s < math.inf and isinstance(boot_id, (str, type(None)))
    stamps = said.get("stamps")  # an earlier guard kept none
    memory = GuardMemory(boot_id, looked_s, active_s, busy, unknown, stamps if isinstance(stamps, dict) else None)
    return memory if is_ours else None


def after_look(before: GuardMemory | None, look: Look) -> GuardMemory:
    """Return what is kept after a look.

    A state of an earlier boot says nothing of this one, nor does one that nobody carried on for minutes.
    """
    is_new = (
        before is None
        or before.boot_id != look.boot_id
        or not before.looked_s <= look.up_s <= before.looked_s + LONGEST_GAP_S
    )
    is_idle = not look.busy and not look.unknown
    active_s = before.active_s if before is not None and is_idle and not is_new else look.up_s
    return GuardMemory(look.boot_id, look.up_s, active_s, look.busy, look.unknown, look.stamps)


def outlook(rules: Rules, memory: GuardMemory, up_s: float, kept_until_s: float = 0.0) -> Outlook:
    """Return when the machine stops as things stand, and why.

    kept_until_s: up_s until which somebody asked that it stays; the cap comes first all the same
    """
    since = "its start" if rules.cap_from_s == 0 else "it got its guard"
    cap = Outlook(cap_in_s(rules, up_s), f"{limit_words(rules.cap_s)} after {since}, whatever it does")
    if memory.busy or memory.unknown:
        return cap
    idle_at_s = max(memory.active_s + rules.idle_s, kept_until_s)
    idle = Outlook(max(0.0, idle_at_s - up_s), f"idle for {limit_words(idle_at_s - memory.active_s)}")
    return idle if idle.stops_in_s <= cap.stops_in_s else cap


def due(rules: Rules, memory: GuardMemory, kept_until_s: float = 0.0) -> str:
    """Return what to do right after a look."""
    if outlook(rules, memory, memory.looked_s, kept_until_s).stops_in_s <= 0:
        return POWER_OFF
    return ASK_JOBS if memory.busy and cap_in_s(rules, memory.looked_s) <= LAST_WORD_S else NOTHING


def cap_in_s(rules: Rules, up_s: float) -> float:
    """Return the seconds until the cap, 0 when it is over."""
    return max(0.0, rules.cap_from_s + rules.cap_s - up_s)


def limit_words(seconds: float) -> str:
    """Return a time as `45 s`, `30 min`, `24 h`; as `limit` of t2v_core.format does, which is not here."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
