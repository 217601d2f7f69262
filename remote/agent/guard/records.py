"""What the guard was told and what it has seen: where that lies, and what holds when it is broken.

`~/.cache/t2v/guard/` holds `rules.json` (what was agreed), `keep.json` (until when somebody wants the machine),
`state.json` (what was seen last) and `last-stop.json`. What is of this boot only lies in the timer's folder of /run
where there is one: that is memory, and can be written when the disk is full or read-only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..base.asked import expanded
from ..base.bounded import FAILURES, within
from ..base.files import Json, write_json
from ..base.plain_json import read_bytes, table
from ..base.processes import boot_id, up_s
from .rules import GuardMemory, remembered

if TYPE_CHECKING:  # Python 3.9 has none
    from typing import TypeGuard

FOLDER = "~/.cache/t2v/guard"
RUN = Path("/run/t2v-guard")
STATE, KEEP, LAST_STOP = "state.json", "keep.json", "last-stop.json"
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
    try:
        return table(within(DISK_TIMEOUT_S, lambda: read_bytes(path, LONGEST_BYTES)))
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


def is_number(value: Any) -> TypeGuard[float]:
    """Return True for a finite number that is no flag; Python's integers may be longer than any float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def last_memory(more: GuardMemory | None = None) -> GuardMemory | None:
    """Return the latest memory of this boot that was written anywhere, or is at hand."""
    found = [more, *(remembered(said_in(place / STATE)) for place in places())]
    return latest((one for one in found if one is not None and one.boot_id == boot_id()), lambda one: one.looked_s)


def kept_until_s() -> float:
    """Return until when the machine is kept, in seconds since boot.

    It is 0 when nobody asked, or asked in an earlier boot.
    """
    found = [said_in(place / KEEP) or {} for place in places()]
    wishes = (_Wish(one.get("until_s"), one.get("said_s")) for one in found if one.get("boot_id") == boot_id())
    wish = latest(filter(_Wish.is_whole, wishes), _Wish.when)
    return min(float(wish.until_s), up_s() + LONGEST_KEEP_S) if wish else 0.0


class _Wish(NamedTuple):
    """Until when somebody wants the machine, and when they said so; anything at all where somebody broke the file."""

    until_s: Any
    said_s: Any

    def is_whole(self) -> bool:
        return is_number(self.until_s)

    def when(self) -> float:
        return float(self.said_s) if is_number(self.said_s) else 0.0


def latest(values: Iterable[Value], when: Callable[[Value], float]) -> Value | None:
    """Return the latest value, or None. Those that lie ahead do not count: they are of another clock."""
    now_s = up_s()
    return max((value for value in values if when(value) <= now_s), key=when, default=None)
