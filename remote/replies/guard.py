"""What an agent says of its machine's guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from t2v_core.disk.typed_json import ShownText, UnixTime


@dataclass(frozen=True)
class LastStop:
    """When the guard powered the machine off last (Unix time in seconds, by the machine's clock), and why."""

    t: UnixTime
    why: ShownText


@dataclass(frozen=True)
class NoGuard:
    """There is none; there may have been one."""

    is_installed: Literal[False]
    last_stop: LastStop | None = None


@dataclass(frozen=True)
class GuardStands:
    """How it stands, as `remote.guard.GuardState` says; in spans, since its clock is not ours."""

    is_installed: Literal[True]
    by: ShownText
    is_alive: bool
    can_power_off: bool
    busy: tuple[ShownText, ...]
    unknown: tuple[ShownText, ...]
    idle_s: float
    stops_in_s: float
    why: ShownText
    cap_in_s: float
    kept_s: float
    error: ShownText | None
    last_stop: LastStop | None = None
    kept_of: ShownText | None = None


Guard = NoGuard | GuardStands
