"""What the guard was told and what it has seen: where that lies, and what holds when it is broken.

`~/.cache/t2v/guard/` holds `rules.json` (what was agreed), `keep.json` (until when somebody wants the machine),
`state.json` (what was seen last) and `last-stop.json`. What is of this boot only lies in the timer's folder of /run
where there is one: that is memory, and can be written when the disk is full or read-only. Beside the timer's unit lies
a copy of the rules, so that it needs nothing of the user's folder.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ..base.asked import expanded
from ..base.bounded import FAILURES, within
from ..base.files import Json, write_json
from ..base.plain_json import table
from ..base.processes import boot_id
from .rules import GuardMemory, Rules, remembered, up_s

FOLDER = "~/.cache/t2v/guard"
RUN = Path("/run/t2v-guard")
UNITS = Path(os.environ.get("T2V_SYSTEMD_UNITS", "/etc/systemd/system"))
RULES, COPY, STATE, KEEP, LAST_STOP = "rules.json", "t2v-guard.json", "state.json", "keep.json", "last-stop.json"
TIMER, PROCESS = "systemd timer", "process"
# Ours have some kilobytes; a file that somebody else made of them may be of any size, or a pipe that nobody writes to.
LONGEST_BYTES = 1_000_000
DISK_TIMEOUT_S = 10.0
LONGEST_KEEP_S = 30 * 86400.0
Value = TypeVar("Value")


def folder() -> Path:
    """Return the guard's folder, whether it is there or not."""
    return expanded(FOLDER)


def places() -> list[Path]:
    """Return where what is of this boot only is written, the best first."""
    try:
        is_ours = RUN.is_dir() and RUN.stat().st_uid == os.getuid()
    except OSError:
        is_ours = False
    return [RUN, folder()] if is_ours else [folder()]


def said_in(path: Path) -> Json | None:
    """Return the JSON object in a file; None for whatever else is there, in time also from a disk that is gone."""

    def read() -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(descriptor, LONGEST_BYTES)
        finally:
            os.close(descriptor)

    try:
        return table(within(DISK_TIMEOUT_S, read))
    except (*FAILURES, ValueError):
        return None


def write_of_boot(name: str, value: Json) -> None:
    """Write a file into the first place that takes it. Raises OSError, MemoryError when none does."""
    failed: OSError | MemoryError | None = None
    for place in places():
        try:
            within(DISK_TIMEOUT_S, lambda place=place: write_json(place / name, value))  # type: ignore[misc]
            return
        except FAILURES as error:
            failed = failed or error
    if failed is not None:
        raise failed


# What was agreed


def agreed(last: Json | None = None) -> Json | None:
    """Return what was agreed; None where no guard is wanted. One that was wanted stays so although its file is broken.

    last: what held before, for want of a copy; without either the rules are those that nobody changed, from now on
    """
    path = folder() / RULES
    said = valid_rules(said_in(path))
    if said is not None:
        return said
    copy = valid_rules(said_in(UNITS / COPY))
    if copy is not None and copy.get("uid") == os.getuid():
        return copy
    return (last or unchanged_rules()) if is_there(path) else None


def is_there(path: Path) -> bool:
    """Return True when something is there, also when it cannot be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def unchanged_rules() -> Json:
    """Return the rules that nobody changed, from now on, where those that were agreed are lost."""
    rules = Rules()
    return {
        "idle_stop_min": rules.idle_s / 60, "max_run_h": rules.cap_s / 3600, "idle_gpu_percent": rules.gpu_percent,
        "workspaces": [], "by": PROCESS, "can_power_off": True, "since": {"boot_id": boot_id(), "up_s": up_s()},
        "were_lost": True,
    }  # fmt: skip


def valid_rules(said: Json | None) -> Json | None:
    """Return the same when it is what `agree` writes, else None."""
    if said is None:
        return None
    since, workspaces = said.get("since"), said.get("workspaces")
    is_whole = (
        all(is_number(said.get(name)) for name in ("idle_stop_min", "max_run_h", "idle_gpu_percent"))
        and min(said["idle_stop_min"], said["max_run_h"]) > 0
        and isinstance(since, dict) and is_number(since.get("up_s")) and "boot_id" in since
        and isinstance(workspaces, list) and all(isinstance(one, str) and "\0" not in one for one in workspaces)
        and said.get("by") in (TIMER, PROCESS) and isinstance(said.get("can_power_off"), bool)
    )  # fmt: skip
    return said if is_whole else None


def is_number(value: Any) -> bool:
    """Return True for a finite number that is no flag; Python's integers may be longer than any float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def rules_of(said: Json) -> Rules:
    """Return what was agreed as Rules. If an earlier boot agreed on it, the cap counts from the start of this one."""
    since = said["since"]
    cap_from_s = float(since["up_s"]) if since["boot_id"] == boot_id() else 0.0
    return Rules(60.0 * said["idle_stop_min"], 3600.0 * said["max_run_h"], float(said["idle_gpu_percent"]), cap_from_s)


# What is of this boot


def last_memory(more: GuardMemory | None = None) -> GuardMemory | None:
    """Return the latest memory of this boot that was written anywhere, or is at hand."""
    found = [more, *(remembered(said_in(place / STATE)) for place in places())]
    return latest((one for one in found if one is not None and one.boot_id == boot_id()), lambda one: one.looked_s)


def kept_until_s() -> float:
    """Return until when the machine is kept, in seconds since boot.

    It is 0 when nobody asked, or asked in an earlier boot.
    """
    found = [said_in(place / KEEP) or {} for place in places()]
    whole = (one for one in found if one.get("boot_id") == boot_id() and is_number(one.get("until_s")))
    said = latest(whole, lambda one: one["said_s"] if is_number(one.get("said_s")) else 0.0)
    return min(float(said["until_s"]), up_s() + LONGEST_KEEP_S) if said else 0.0


def latest(values: Iterable[Value], when: Callable[[Value], float]) -> Value | None:
    """Return the latest value, or None. Those that lie ahead do not count: they are of another clock."""
    now_s = up_s()
    return max((value for value in values if when(value) <= now_s), key=when, default=None)
