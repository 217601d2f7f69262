"""A series that grows, and its lowest and highest value over any stretch, in time that hardly depends on its length."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

# Each level of the pyramid has a value for so many of the level below: 100,000 points are 6,250, 390, 24 and 1.
FAN = 16


class Series:
    """y over rising x. A point at or before the last cuts off what was said there: a resumed run says it again.

    xs: of another series, which this one has values for as well
    """

    def __init__(self, xs: array[float] | None = None) -> None:
        self.xs, self.ys = array("d") if xs is None else xs, array("d")
        self._lows: list[array[float]] = [self.ys]
        self._highs: list[array[float]] = [self.ys]

    def __len__(self) -> int:
        return len(self.xs)

    def extend(self, points: Iterable[tuple[float, float]]) -> None:
        """Add points. Values that are no number are passed over."""
        first = len(self.xs)
        for x, y in points:
            if not math.isfinite(y):
                continue
            if self.xs and x <= self.xs[-1]:
                first = min(first, self._cut(x))
            self.xs.append(x)
            self.ys.append(y)
        self._raise_pyramid(first)

    def follow(self, ys: Sequence[float]) -> None:
        """Give the last points their values, once the series that the xs are of has been extended."""
        first = len(self.xs) - len(ys)
        del self.ys[first:]
        self.ys.extend(ys)
        self._raise_pyramid(first)

    def _cut(self, x: float) -> int:
        kept = bisect_left(self.xs, x)
        del self.xs[kept:], self.ys[kept:]
        return kept

    def _raise_pyramid(self, first: int) -> None:
        """Make every level above fit again, from the point number `first` on."""
        level = 0
        while len(self._lows[level]) > FAN or level + 1 < len(self._lows):
            if level + 1 == len(self._lows):
                self._lows.append(array("d"))
                self._highs.append(array("d"))
            first //= FAN
            below, lows = self._lows[level], self._lows[level + 1]
            del lows[first:], self._highs[level + 1][first:]
            for at in range(first * FAN, len(below), FAN):
                lows.append(min(below[at : at + FAN]))
                self._highs[level + 1].append(max(self._highs[level][at : at + FAN]))
            level += 1

    def between(self, x0: float, x1: float) -> tuple[int, int]:
        """Return the numbers of the points with x0 ≤ x < x1: first, and one after the last."""
        return bisect_left(self.xs, x0), bisect_left(self.xs, x1)

    def span(self, first: int, end: int) -> tuple[float, float]:
        """Return the lowest and highest y of points `first` … `end` − 1, of which there is at least one."""
        return self._least(first, end, 0), -self._least(first, end, 0, sign=-1)

    def _least(self, first: int, end: int, level: int, *, sign: int = 1) -> float:
        values = self._lows[level] if sign > 0 else self._highs[level]
        pick = min if sign > 0 else max
        if end - first <= 2 * FAN or level + 1 == len(self._lows):
            return sign * pick(values[first:end])
        inner, inner_end = -(-first // FAN), end // FAN
        parts = [self._least(inner, inner_end, level + 1, sign=sign)]
        if first < inner * FAN:
            parts.append(sign * pick(values[first : inner * FAN]))
        if inner_end * FAN < end:
            parts.append(sign * pick(values[inner_end * FAN : end]))
        return min(parts)


class Averaged:
    """A series and its exponential average without the bias of its beginning, which is the plain mean of few points.

    decay: of each point; 0.98 looks back over about fifty
    Source: Kingma and Ba 2015 (Adam), section 3: the average divided by 1 - decayⁿ.
    """

    def __init__(self, decay: float = 0.98) -> None:
        self.decay = decay
        self.raw = Series()
        self.average = Series(self.raw.xs)

    def extend(self, points: Iterable[tuple[float, float]]) -> None:
        """Add points to both. Values that are no number are passed over."""
        for stretch in rising((x, y) for x, y in points if math.isfinite(y)):
            self.raw.extend(stretch)
            self.average.follow(list(self._averages(stretch)))

    def _averages(self, stretch: list[tuple[float, float]]) -> Iterator[float]:
        before = bisect_left(self.average.xs, stretch[0][0])
        mean = self.average.ys[before - 1] if before else 0.0
        for count, (_, y) in enumerate(stretch, before + 1):
            mean += (y - mean) * (1 - self.decay) / (1 - self.decay**count)
            yield mean


def rising(points: Iterable[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Yield points in the order they came, cut where x does not rise."""
    stretch: list[tuple[float, float]] = []
    for point in points:
        if stretch and point[0] <= stretch[-1][0]:
            yield stretch
            stretch = []
        stretch.append(point)
    if stretch:
        yield stretch
