"""Scores as rows: each with what is its floor and its ceiling, how it was measured, and what it does not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2v_tui.text.runs.run_table import figure

# Of a score, those that stand beside it as its bounds and not for themselves.
BOUNDS = {"clip_generated": ("clip_shuffled_floor", "clip_real_ceiling")}
# What a score says of itself that has a column of its own; the rest is its stamp.
COLUMNS = ("value", "interval_95", "real_floor", "real", "chance", "blindness")
SHARE = "obeyed"
UNKNOWN = "·"


@dataclass(frozen=True)
class ScoreRow:
    """One score in words. at: where it lies from its floor, 0, to its ceiling, 1; None without both"""

    name: str
    value: str
    floor: str = ""
    ceiling: str = ""
    interval: str = ""
    stamp: str = ""
    unseen: str = ""
    at: float | None = None


def score_rows(scores: Mapping[str, Any]) -> list[ScoreRow]:
    """Return the scores of one evaluation; what is none of them is passed over."""
    tables = {name: said for name, said in scores.items() if isinstance(said, dict) and "value" in said}
    hidden = {bound for name, pair in BOUNDS.items() if name in tables for bound in pair}
    return [_row(name, said, tables) for name, said in tables.items() if name not in hidden]


def _row(name: str, said: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> ScoreRow:
    floor, ceiling = (_number(tables.get(bound, {}).get("value")) for bound in BOUNDS.get(name, ("", "")))
    words = ("floor", "ceiling")
    if "real_floor" in said:
        floor, words = _number(said["real_floor"]), ("real against real", "")
    elif "real" in said:
        ceiling, words = _number(said["real"]), ("", "real clips")
    elif SHARE in name:
        floor, ceiling, words = _number(said.get("chance")), 1.0, ("chance", "all")
    value = _number(said["value"])
    return ScoreRow(
        name.replace("_", " "),
        UNKNOWN if value is None else figure(value),
        "" if floor is None else f"{figure(floor)} {words[0]}",
        "" if ceiling is None else f"{figure(ceiling)} {words[1]}",
        _interval(said.get("interval_95")),
        ", ".join(f"{key.replace('_', ' ')} {_plain(one)}" for key, one in said.items() if key not in COLUMNS),
        _unseen(said.get("blindness")),
        _at(value, floor, ceiling),
    )


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _at(value: float | None, floor: float | None, ceiling: float | None) -> float | None:
    if value is None or floor is None or ceiling is None or ceiling <= floor:
        return None
    return min(1.0, max(0.0, (value - floor) / (ceiling - floor)))


def _interval(said: Any) -> str:
    ends = [_number(one) for one in said] if isinstance(said, list) else []
    return f"{figure(ends[0])} … {figure(ends[1])}" if len(ends) == 2 and None not in ends else ""


def _unseen(said: Any) -> str:
    if not isinstance(said, dict):
        return ""
    ways = said.get("blind_to")
    ways = [str(way) for way in ways] if isinstance(ways, list) else []
    told = f"does not see: {', '.join(ways)}" if ways else "sees all six faults"
    return f"blind to time; {told}" if said.get("is_blind_to_time") else told


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
