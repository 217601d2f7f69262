"""Round numbers for axes, and how they read."""

from __future__ import annotations

import math


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten within the range, at most `most` of them."""
    span = high - low
    if span <= 0 or most < 1:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / most))
    while span / step > most:
        step *= 2.5 if f"{step:e}".startswith("2") else 2
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, or only powers of ten when those are too many.

    They are linear in less than an octave.
    """
    if high < 3 * low:
        return linear_ticks(low, high, most)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) <= most:
            return ticks or linear_ticks(low, high, most)
    every = math.ceil(len(ticks) / most)
    return ticks[::every]


def short_number(value: float) -> str:
    """Return a number in four or five characters: `0.081`, `12.4k`, `1.5M`."""
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:.4g}{unit}"
    if size and (size < 1e-3):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.3g}"
