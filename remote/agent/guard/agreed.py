"""What was agreed with the guard: `rules.json`, and what holds when somebody broke it.

Beside the timer's unit lies a copy, so that the timer needs nothing of the user's folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from ..base.files import Json
from ..base.processes import boot_id, up_s
from .records import folder, is_number, said_in
from .rules import Rules

UNITS = Path(os.environ.get("T2V_SYSTEMD_UNITS", "/etc/systemd/system"))
RULES, COPY = "rules.json", "t2v-guard.json"
TIMER, PROCESS = "systemd timer", "process"
NUMBERS = ("idle_stop_min", "max_run_h", "idle_gpu_percent")


class Since(NamedTuple):
    """The moment of the agreement. up_s: seconds since the start of that boot"""

    boot_id: Any
    up_s: float


class Agreed(NamedTuple):
    """What `rules.json` holds.

    workspaces: whose jobs are work, as paths
    by:         what looks, TIMER or PROCESS
    of:         the workspace that agreed first, {"id", "name"}
    product:    of the machine, when t2v.toml names it as one to power off
    were_lost:  these are the rules that nobody changed, since the file is broken
    """

    idle_stop_min: float
    max_run_h: float
    idle_gpu_percent: float
    workspaces: tuple[str, ...]
    by: str
    can_power_off: bool
    since: Since
    of: Any = None
    product: Any = None
    were_lost: bool = False

    @property
    def numbers(self) -> dict[str, float]:
        """Return what is agreed on as numbers, by name."""
        return {name: getattr(self, name) for name in NUMBERS}

    @property
    def rules(self) -> Rules:
        """Return what decides. If an earlier boot agreed on it, the cap counts from the start of this one."""
        cap_from_s = float(self.since.up_s) if self.since.boot_id == boot_id() else 0.0
        return Rules(60.0 * self.idle_stop_min, 3600.0 * self.max_run_h, float(self.idle_gpu_percent), cap_from_s)

    def as_json(self) -> Json:
        """Return it as `read` takes it."""
        said = {**self._asdict(), "workspaces": list(self.workspaces), "since": self.since._asdict()}
        return {name: value for name, value in said.items() if value is not None and (name != "were_lost" or value)}


def agreed(last: Agreed | None = None) -> Agreed | None:
    """Return what was agreed; None where no guard is wanted. One that was wanted stays so although its file is broken.

    last: what held before, for want of a copy; without either the rules are those that nobody changed, from now on
    """
    path = folder() / RULES
    if (found := read(said_in(path))) is not None:
        return found
    copy = said_in(UNITS / COPY)
    if (found := read(copy)) is not None and copy is not None and copy.get("uid") == os.getuid():
        return found
    return (last or unchanged()) if is_there(path) else None


def read(said: Json | None) -> Agreed | None:
    """Return what a file says when it is what `as_json` made, else None."""
    if said is None:
        return None
    idle_stop_min, max_run_h, idle_gpu_percent = map(said.get, NUMBERS)
    since, workspaces, by, can_power_off = map(said.get, ("since", "workspaces", "by", "can_power_off"))
    if (
        is_number(idle_stop_min) and is_number(max_run_h) and is_number(idle_gpu_percent)
        and min(idle_stop_min, max_run_h) > 0
        and isinstance(since, dict) and is_number(since.get("up_s")) and "boot_id" in since
        and isinstance(workspaces, list) and all(isinstance(one, str) and "\0" not in one for one in workspaces)
        and by in (TIMER, PROCESS) and isinstance(can_power_off, bool)
    ):  # fmt: skip
        return Agreed(
            idle_stop_min, max_run_h, idle_gpu_percent, tuple(workspaces), by, can_power_off,
            Since(since.get("boot_id"), since.get("up_s", 0.0)), said.get("of"), said.get("product"),
            said.get("were_lost") is True,
        )  # fmt: skip
    return None


def unchanged() -> Agreed:
    """Return the rules that nobody changed, from now on, where those that were agreed are lost."""
    rules = Rules()
    since = Since(boot_id(), up_s())
    return Agreed(rules.idle_s / 60, rules.cap_s / 3600, rules.gpu_percent, (), PROCESS, True, since, were_lost=True)


def is_there(path: Path) -> bool:
    """Return True when something is there, also when it cannot be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
