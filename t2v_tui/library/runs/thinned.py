"""A table that grows without end in memory that does not: when it is full, each two neighbours become one row."""

from __future__ import annotations

import operator
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A chart as wide as the widest terminal has 600 dots across: half of this, which is the least, is three rows a dot.
MOST_ROWS = 4096
NOTHING = float("inf")


@dataclass(frozen=True)
class Line:
    """One figure of a run, thinned: each row stands for so many of its points, side by side.

    steps, times: of the last point of each row; times in Unix seconds
    lows, highs:  of its points; infinite where it has none
    sums, counts: of its points, whose mean is `sums[i] / counts[i]`
    """

    steps: array[float]
    times: array[float]
    lows: array[float]
    highs: array[float]
    sums: array[float]
    counts: array[float]

    def __len__(self) -> int:
        return len(self.steps)


class _Column:
    """Lowest, highest, sum and number of what each row holds of one figure."""

    def __init__(self, rows: int) -> None:
        """rows: that are there already, and hold nothing of it"""
        self.lows, self.highs = array("d", [NOTHING]) * rows, array("d", [-NOTHING]) * rows
        self.sums, self.counts = array("d", [0.0]) * rows, array("d", [0.0]) * rows

    def append(self, values: Sequence[float]) -> None:
        self.lows.append(min(values, default=NOTHING))
        self.highs.append(max(values, default=-NOTHING))
        self.sums.append(sum(values))
        self.counts.append(len(values))

    def add(self, values: Sequence[float]) -> None:
        """To the last row."""
        self.lows[-1] = min(self.lows[-1], min(values, default=NOTHING))
        self.highs[-1] = max(self.highs[-1], max(values, default=-NOTHING))
        self.sums[-1] += sum(values)
        self.counts[-1] += len(values)

    def own(self) -> None:
        self.lows, self.highs, self.sums, self.counts = self.lows[:], self.highs[:], self.sums[:], self.counts[:]

    def cut(self, rows: int) -> None:
        for part in (self.lows, self.highs, self.sums, self.counts):
            del part[rows:]

    def halve(self) -> None:
        self.lows = array("d", map(min, self.lows[::2], self.lows[1::2]))
        self.highs = array("d", map(max, self.highs[::2], self.highs[1::2]))
        self.sums = array("d", map(operator.add, self.sums[::2], self.sums[1::2]))
        self.counts = array("d", map(operator.add, self.counts[::2], self.counts[1::2]))


class Thinned:
    """Figures over steps and time, of which at most `most` rows are kept (an even number).

    by_time: its points rise by time, several at one step; else by step. A point at or before the last cuts off what was
             said there, as a resumed run says it again; rows are cut whole.
    """

    def __init__(self, most: int = MOST_ROWS, *, by_time: bool = False) -> None:
        self.most, self.by_time = most, by_time
        self.steps, self.times = array("d"), array("d")
        self.columns: dict[str, _Column] = {}
        self.width = 1
        self._in_last = 0
        self._is_shared = False

    def __len__(self) -> int:
        return len(self.steps)

    def extend(
        self, steps: Sequence[float], times: Sequence[float], values: Mapping[str, Sequence[float | None]]
    ) -> None:
        """Add points.

        values: as many of each figure as there are steps; None where a point has none
        """
        self._own()
        rising = times if self.by_time else steps
        begin = 0
        for end in (*_breaks(rising), len(rising)):
            if end > begin:
                self._cut(rising[begin])
                self._add(steps[begin:end], times[begin:end], {name: said[begin:end] for name, said in values.items()})
            begin = end

    def line(self, name: str) -> Line | None:
        """Return a figure as it stands; None without it."""
        return self.lines().get(name)

    def lines(self) -> dict[str, Line]:
        """Return all of them as they stand and stay, in arrays that are copied when more points come.

        So of runs that have ended there is one copy, which nobody writes to.
        """
        self._is_shared = True
        return {
            name: Line(self.steps, self.times, one.lows, one.highs, one.sums, one.counts)
            for name, one in self.columns.items()
        }

    def _own(self) -> None:
        """Write from now on to arrays that nobody else has."""
        if self._is_shared:
            self._is_shared = False
            self.steps, self.times = self.steps[:], self.times[:]
            for column in self.columns.values():
                column.own()

    def _cut(self, value: float) -> None:
        rising = self.times if self.by_time else self.steps
        if not rising or value > rising[-1]:
            return
        kept = bisect_left(rising, value)
        del self.steps[kept:], self.times[kept:]
        for column in self.columns.values():
            column.cut(kept)
        self._in_last = self.width

    def _add(
        self, steps: Sequence[float], times: Sequence[float], values: Mapping[str, Sequence[float | None]]
    ) -> None:
        for name in values:
            if name not in self.columns:
                self.columns[name] = _Column(len(self.steps))
        begin = 0
        while begin < len(steps):
            is_open = bool(self.steps) and self._in_last < self.width
            end = min(len(steps), begin + self.width - (self._in_last if is_open else 0))
            if is_open:
                self.steps[-1], self.times[-1] = steps[end - 1], times[end - 1]
            else:
                self.steps.append(steps[end - 1])
                self.times.append(times[end - 1])
            for name, column in self.columns.items():
                said = [one for one in values.get(name, ())[begin:end] if one is not None]
                (column.add if is_open else column.append)(said)
            self._in_last = end - begin + (self._in_last if is_open else 0)
            begin = end
            if len(self.steps) >= self.most and self._in_last >= self.width:
                self._halve()

    def _halve(self) -> None:
        self.steps, self.times = self.steps[1::2], self.times[1::2]
        for column in self.columns.values():
            column.halve()
        self.width *= 2
        self._in_last = self.width


def _breaks(rising: Sequence[float]) -> list[int]:
    """Where it does not rise."""
    if all(map(operator.lt, rising, rising[1:])):
        return []
    return [at for at in range(1, len(rising)) if not rising[at] > rising[at - 1]]
