"""Lines of a chart from lines of runs: which x they have, how smooth they are, and no more points than dots."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from remote.cost.ledger import Session
from t2v_tui.library.runs.measured import Measured
from t2v_tui.library.runs.thinned import Line

# How much of an average each point leaves: of the last 10, 50, 200 and 1,000 points.
SMOOTHINGS = (0.0, 0.9, 0.98, 0.995, 0.999)
# A line of few points is averaged over no more than this share of them: ten held-out losses stand as they are.
MOST_OF_LINE = 0.05
# Of what lies further back than this share, nothing is seen in an average.
FORGOTTEN = 1e-3


class Axis(StrEnum):
    """What a chart has across."""

    STEP = "step"
    EPOCH = "epoch"
    HOURS = "hours"
    DOLLARS = "dollars"


@dataclass(frozen=True)
class Trace:
    """A line as it is drawn. xs: rising; ys: smoothed means; lows, highs: what they stand for"""

    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]


def xs_of(line: Line, run: Measured, axis: Axis, sessions: Sequence[Session] = ()) -> Sequence[float] | None:
    """Return the place of each row along an axis; None when the run does not know it: no epoch has ended, or no price.

    sessions: of its machine, which say what it cost by when
    """
    if axis is Axis.STEP:
        return line.steps
    if axis is Axis.EPOCH:
        per_epoch = run.steps_per_epoch
        return None if not per_epoch else array("d", (step / per_epoch for step in line.steps))
    if axis is Axis.HOURS:
        return array("d", (max(0.0, t - run.began_t) / 3600 for t in line.times))
    paid = [one for one in sessions if one.usd_per_hour]
    if not paid:
        return None
    return array("d", (sum(one.usd(run.began_t, t) for one in paid) for t in line.times))


def trace_of(
    line: Line,
    xs: Sequence[float],
    window: tuple[float, float] | None,
    dots: int,
    decay: float,
    *,
    with_band: bool = True,
) -> Trace:
    """Return what of a line lies in the window, in at most so many points.

    window:    from x to x; None: all of it
    decay:     of each point in the average; 0 leaves them as they are
    with_band: find lows and highs, which takes as long as the rest; else they are the means
    """
    decay = _decay_for(line, decay)
    first, end = (0, len(xs)) if window is None else (bisect_left(xs, window[0]), bisect_right(xs, window[1]))
    if window is not None:
        first, end = max(0, first - 1), min(len(xs), end + 1)
    rows = max(1, end - first)
    every = max(1, math.ceil(rows / max(2, dots)))
    before = _rows_before(line, first, decay)
    coarse_first = first - (first - before) // every * every
    hidden = (first - coarse_first) // every
    counts = _joined(line.counts, sum, coarse_first, end, every)
    sums = _joined(line.sums, sum, coarse_first, end, every)
    places, ys = _smoothed(_places(xs, coarse_first, end, every), sums, counts, decay)
    lows = highs = ys
    if with_band:
        lows, highs = (
            [value for value, count in zip(_joined(of, join, coarse_first, end, every), counts, strict=True) if count]
            for of, join in ((line.lows, min), (line.highs, max))
        )
    return Trace(places[hidden:], ys[hidden:], lows[hidden:], highs[hidden:])


def value_at(trace: Trace, x: float | None) -> float | None:
    """Return a line's value at a place, of the last point at or before it; at its end without a place.

    None before its beginning and behind its end.
    """
    if not len(trace.xs):
        return None
    if x is None:
        return trace.ys[-1]
    at = bisect_right(trace.xs, x)
    is_behind = at == len(trace.xs) and x - trace.xs[-1] > 1e-9 * max(1.0, abs(x))
    return None if at == 0 or is_behind else trace.ys[at - 1]


def _decay_for(line: Line, decay: float) -> float:
    over = sum(line.counts) * MOST_OF_LINE
    return 0.0 if over < 2 else min(decay, 1 - 1 / over)


def _rows_before(line: Line, first: int, decay: float) -> int:
    """The row from which on an average at `first` is what it is over the whole line."""
    if decay <= 0 or first <= 0:
        return first
    width = max(1.0, line.counts[first - 1])
    points = math.log(FORGOTTEN) / math.log(decay)
    return max(0, first - math.ceil(points / width))


def _joined(
    values: Sequence[float], join: Callable[[Sequence[float]], float], first: int, end: int, every: int
) -> Sequence[float]:
    """One of each `every` rows from `first` on; the last may be of fewer."""
    if every == 1:
        return values[first:end]
    return [join(values[at : at + every]) for at in range(first, end, every)]


def _places(xs: Sequence[float], first: int, end: int, every: int) -> Sequence[float]:
    """The last x of each `every` rows."""
    places = [*xs[first + every - 1 : end : every]]
    return [*places, xs[end - 1]] if (end - first) % every else places


def _smoothed(
    places: Sequence[float], sums: Sequence[float], counts: Sequence[float], decay: float
) -> tuple[list[float], list[float]]:
    """Places and means of rows that hold a point, averaged without the bias of the beginning.

    Source: Kingma and Ba 2015 (Adam), section 3, with a row of n points as n points of its mean.
    """
    xs, ys = [], []
    mean = norm = 0.0
    known_count, kept = -1.0, 0.0
    for x, total, count in zip(places, sums, counts, strict=True):
        if not count:
            continue
        value = total / count
        if decay:
            if count != known_count:
                known_count, kept = count, decay**count
            mean = mean * kept + value * (1 - kept)
            norm = norm * kept + 1 - kept
            value = mean / norm
        xs.append(x)
        ys.append(value)
    return xs, ys


def roomy(low: float, high: float) -> tuple[float, float]:
    """Return what is drawn of a range: one that is a single value, but for rounding, has that value in its middle."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    half = (abs(low) or 1) / 2
    return low - half, high + half


def extent(traces: Iterable[Trace], *, with_band: bool) -> tuple[float, float] | None:
    """Return the lowest and the highest of what is drawn; None when nothing is. with_band: lows and highs as well"""
    drawn = [one for one in traces if len(one.ys)]
    if not drawn:
        return None
    if with_band:
        return min(min(one.lows) for one in drawn), max(max(one.highs) for one in drawn)
    return min(min(one.ys) for one in drawn), max(max(one.ys) for one in drawn)
