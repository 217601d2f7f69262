"""The guard of a machine that costs money by the hour: looks every minute, and powers it off when it has been idle.

It needs no network, no credentials and nobody who is connected. What is due is done before anything is written down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..base.asked import take, workspace
from ..base.bounded import FAILURES, within
from ..base.cloud import product
from ..base.elsewhere import is_elsewhere
from ..base.files import Json, Problem, write_json
from ..base.private import make_folder
from ..base.processes import boot_id, this_moment, up_s
from ..base.whose import anothers, asker
from ..jobs.rows import job_directories, state_of_live
from ..jobs.stopping import ask_to_stop
from .agreed import NUMBERS, RULES, Agreed, agreed, read, unchanged
from .busy import BusyMark
from .power_off import can_power_off, power_off
from .records import (
    DISK_TIMEOUT_S,
    KEEP,
    LAST_STOP,
    LONGEST_KEEP_S,
    STATE,
    folder,
    is_number,
    kept_until_s,
    last_memory,
    places,
    said_in,
    write_of_boot,
)
from .rules import (
    ASK_JOBS,
    LONGEST_GAP_S,
    POWER_OFF,
    GuardMemory,
    Look,
    Rules,
    after_look,
    cap_in_s,
    due,
    limit_words,
    outlook,
    remembered,
)
from .signs import SessionSigns, gpu_signs, job_signs, process_signs, session_signs, time_to_see, transfer_signs

# What is asked while somebody only looks on; it does not keep a machine alive.
WATCHING = frozenset(
    (
        "hello",
        "status",
        "gpu",
        "probe",
        "ls",
        "standing",
        "guard",
        "read",
        "hash",
        "offer",
        "examine",
        "preview",
        "models",
    )
)
SIGN_TIMEOUT_S = 30.0
MARK = BusyMark()
Seen = TypeVar("Seen")


def note(verb: str) -> None:
    """Leave a mark when somebody asked for something that is more than a look."""
    if verb not in WATCHING and agreed() is not None:
        MARK.touch()


# One look


def one_look(told: Agreed, before: GuardMemory | None = None) -> Json:
    """Look, do what is due, and write down what was seen. before: what whoever looks remembers by itself."""
    rules, workspaces = told.rules, [Path(path) for path in told.workspaces]
    last = last_memory(before)
    memory = after_look(last, read_signs(rules, workspaces, last))
    kept = kept_until_s()
    what = due(rules, memory, kept)
    state = {**memory._asdict(), "looked_t": time.time(), "error": None}
    if what == POWER_OFF:
        state["error"] = stop_machine(outlook(rules, memory, memory.looked_s, kept).why, told)
    elif what == ASK_JOBS:
        ask_jobs_to_end(workspaces)
    try:
        write_of_boot(STATE, state)
    except FAILURES as error:
        state["error"] = state["error"] or f"what it saw cannot be recorded: {error or type(error).__name__}"
    return {"did": what, **state}


def stop_machine(why: str, told: Agreed) -> str | None:
    """Power the machine off, or return why it does not stop.

    When and why it did is written last: the disk may take no more.
    """
    error = power_off(told.product)
    if error is None:
        stop = {"t": time.time(), "why": why, **this_moment()}
        with suppress(*FAILURES):
            within(DISK_TIMEOUT_S, lambda: write_json(folder() / LAST_STOP, stop))
    return error


def look_at_all_events(told: Agreed, before: GuardMemory | None = None) -> Json:
    """Take one look. What breaks it is told where `guard` shows it; of the rules then at least the cap holds."""
    try:
        return one_look(told, before)
    except Exception as error:  # noqa: BLE001 - a guard that ends for an error guards nothing
        why = f"a check failed: {type(error).__name__}: {error}"
        rules = told.rules
        is_over = cap_in_s(rules, up_s()) <= 0
        if is_over:
            why = stop_machine(f"{limit_words(rules.cap_s)} are over, and {why}", told) or why
        with suppress(*FAILURES):
            state = next(filter(None, (said_in(place / STATE) for place in places())), {})
            write_of_boot(STATE, {**state, "error": why})
        return {"did": POWER_OFF if is_over else "nothing", "error": why}


def read_signs(rules: Rules, workspaces: Sequence[Path], last: GuardMemory | None = None) -> Look:
    """Read every sign there is. One that cannot be read, or not in time, is unknown, which counts as busy.

    last: what the look before has left, if there was one
    """
    stamps, fresh_s = last.stamps if last is not None else None, time_to_see(last)
    unknown: list[str] = []

    def tried(name: str, signs: Callable[[], Seen], otherwise: Seen) -> Seen:
        try:
            return within(SIGN_TIMEOUT_S, signs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other signs and the cap are still there
            unknown.append(f"{name}: {error or type(error).__name__}")
            return otherwise

    nothing: list[str] = []
    jobs = tried("jobs", lambda: job_signs(workspaces, fresh_s), nothing)
    processes = tried("processes", lambda: process_signs(jobs), nothing)
    transfers = tried("transfers", lambda: transfer_signs(fresh_s), nothing)
    sessions = tried("SSH sessions", lambda: session_signs(stamps), SessionSigns(nothing, stamps))
    gpus = tried("GPUs", lambda: gpu_signs(rules.gpu_percent), (nothing, nothing))
    busy = (*jobs, *processes, *transfers, *sessions.busy, *gpus[0])
    return Look(boot_id(), up_s(), busy, (*unknown, *gpus[1]), sessions.stamps)


def ask_jobs_to_end(workspaces: Sequence[Path]) -> None:
    """Ask the running jobs to end, since the cap is near.

    A running engine makes a checkpoint and ends; what waits in the queue goes on waiting.
    """
    for root in workspaces:
        for directory in job_directories(root / "jobs"):
            is_open = not (directory / "exit.json").exists() and not is_elsewhere(directory)
            if is_open and state_of_live(directory) == "running" and not (directory / "stop").exists():
                ask_to_stop(directory)


# What can be asked


def guard_status(_: Json) -> Json:
    """Return how it stands; times are seconds from now, since the clocks of two machines differ."""
    told, now_s = agreed(), up_s()
    last_stop, stop_error = stop_that_was(said_in(folder() / LAST_STOP), now_s)
    if told is None:
        return {"is_installed": False, "last_stop": last_stop}
    rules, kept = told.rules, kept_until_s()
    memory = last_memory() or GuardMemory(boot_id(), 0.0, now_s)  # of this boot nothing was seen yet
    stops = outlook(rules, memory, now_s, kept)
    lost = "its rules were lost: t2v vm start sets them again" if told.were_lost else None
    return {
        "is_installed": True, "by": told.by, "can_power_off": told.can_power_off,
        "is_alive": now_s - memory.looked_s <= LONGEST_GAP_S, "looked_s_ago": now_s - memory.looked_s,
        "busy": list(memory.busy), "unknown": list(memory.unknown),
        "idle_s": 0.0 if memory.busy or memory.unknown else now_s - memory.active_s,
        "stops_in_s": stops.stops_in_s, "why": stops.why, "cap_in_s": cap_in_s(rules, now_s),
        "idle_stop_s": rules.idle_s, "kept_s": max(0.0, kept - now_s),
        "error": last_error() or stop_error or lost, "last_stop": last_stop,
    }  # fmt: skip


def last_error() -> str | None:
    """Return the error of the last look of this boot, or of one that came to nothing; None for none."""
    states = [said for said in (said_in(place / STATE) for place in places()) if said is not None]
    seen = last_memory()
    newest = next((said for said in states if seen is None or remembered(said) == seen), {})
    error = newest.get("error")
    return str(error) if error else None


def stop_that_was(asked: Json | None, now_s: float) -> tuple[Json | None, str | None]:
    """Return (the last stop, why there was none).

    Only a boot after it shows that a power-off was more than asked for.
    """
    if asked is None or not is_number(asked.get("t")) or "why" not in asked:
        return None, None
    if asked.get("boot_id") != boot_id():
        return asked, None
    ago_s = now_s - (float(asked["up_s"]) if is_number(asked.get("up_s")) else now_s)
    return (
        None,
        f"it was asked to power off {limit_words(ago_s)} ago, and is still up" if ago_s > LONGEST_GAP_S else None,
    )


def keep(parameters: Json) -> Json:
    """Let the machine stay for so long although it is idle, up to its cap; 0 lets go of it."""
    seconds = float(take(parameters, "seconds", float))
    if agreed() is None:
        raise Problem("not-found", "this machine has no guard: nothing here stops it", "")
    if not 0 <= seconds <= LONGEST_KEEP_S:
        raise Problem("asked-wrongly", f"{seconds:g} s is not a time to keep a machine: 0 … 30 days")
    now_s = up_s()
    write_of_boot(KEEP, {"boot_id": boot_id(), "until_s": now_s + seconds, "said_s": now_s})
    return guard_status({})


def agree(parameters: Json, by: str) -> tuple[Agreed, str]:
    """Write down what was agreed; a workspace that was told once stays known.

    Numbers that another workspace agreed on stay, unless `is_replacing` says that they give way; the text that is
    returned beside the rules names it.
    """
    numbers = {name: take(parameters, name, float) for name in NUMBERS}
    told = read({**unchanged().as_json(), **numbers})
    if told is None:
        raise Problem("asked-wrongly", "idle_stop_min and max_run_h must be more than 0")
    named = product_named(parameters)
    make_folder(folder())
    before, asked_by = agreed() or unchanged(), asker(parameters)
    rival = anothers(before.of, asked_by)
    is_kept = bool(rival) and not take(parameters, "is_replacing", bool, False) and not before.were_lost
    kept_of = rival if is_kept and before.numbers != numbers else ""
    product = before.product if named is None else named
    wanted = told._replace(
        **(before.numbers if kept_of else numbers),
        workspaces=tuple(sorted({*before.workspaces, str(workspace(parameters))})),
        by=by, can_power_off=can_power_off(product), since=before.since,
        of=asked_by._asdict() if asked_by.id and not is_kept else before.of, product=product, were_lost=False,
    )  # fmt: skip
    if wanted != read(said_in(folder() / RULES)):
        write_json(folder() / RULES, wanted.as_json())
    return wanted, kept_of


def product_named(parameters: Json) -> str | None:
    """Return the product of this machine when t2v.toml names it as one to power off, else None.

    Raises Problem when it is the machine that asks: nobody means to power off where they sit.
    """
    if not take(parameters, "is_any_machine", bool, False):
        return None
    if boot_id() is not None and parameters.get("asked_on") == boot_id():
        sentence = "it is the machine that t2v runs on, which no guard powers off"
        raise Problem("failed", sentence, "start and stop another machine by its commands")
    return product()
