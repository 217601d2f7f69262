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
UNKNOWN = "–"


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


@dataclass(frozen=True)
class _Score:
    """One score as its file has it: figures, which are None where it has none, and its stamp."""

    value: float | None
    floor: float | None
    ceiling: float | None
    chance: float | None
    interval: Any
    blindness: Any
    stamp: Mapping[str, Any]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> _Score:
        value, interval, floor, ceiling, chance, blindness = (said.get(name) for name in COLUMNS)
        stamp = {name: one for name, one in said.items() if name not in COLUMNS}
        return cls(
            _figure_in(value), _figure_in(floor), _figure_in(ceiling), _figure_in(chance), interval, blindness, stamp
        )


def score_rows(scores: Mapping[str, Any]) -> list[ScoreRow]:
    """Return the scores of one evaluation; what is none of them is passed over."""
    tables = {name: _Score.of(said) for name, said in scores.items() if isinstance(said, dict) and "value" in said}
    hidden = {bound for name, pair in BOUNDS.items() if name in tables for bound in pair}
    return [_score_row(name, score, tables) for name, score in tables.items() if name not in hidden]


def _score_row(name: str, score: _Score, tables: Mapping[str, _Score]) -> ScoreRow:
    bounds = [tables.get(bound) for bound in BOUNDS.get(name, ("", ""))]
    floor, ceiling = (None if bound is None else bound.value for bound in bounds)
    words = ("floor", "ceiling")
    if score.floor is not None:
        floor, words = score.floor, ("real against real", "")
    elif score.ceiling is not None:
        ceiling, words = score.ceiling, ("", "real clips")
    elif SHARE in name:
        floor, ceiling, words = score.chance, 1.0, ("chance", "all")
    return ScoreRow(
        name.replace("_", " "),
        UNKNOWN if score.value is None else figure(score.value),
        "" if floor is None else f"{figure(floor)} {words[0]}",
        "" if ceiling is None else f"{figure(ceiling)} {words[1]}",
        _interval(score.interval),
        ", ".join(f"{key.replace('_', ' ')} {_plain(one)}" for key, one in score.stamp.items()),
        _unseen(score.blindness),
        _at(score.value, floor, ceiling),
    )


def _figure_in(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None


def _at(value: float | None, floor: float | None, ceiling: float | None) -> float | None:
    if value is None or floor is None or ceiling is None or ceiling <= floor:
        return None
    return min(1.0, max(0.0, (value - floor) / (ceiling - floor)))


def _interval(said: Any) -> str:
    ends = [_figure_in(one) for one in said] if isinstance(said, list) else []
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
