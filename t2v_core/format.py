"""How sizes, times, money and counts read: in every sentence, in every table and on every screen.

Each function takes a plain number and returns a short text. None of them raises, whatever it is given: what another
machine sends may be negative, huge, infinite or not a number at all, which reads as `?`.
"""

from __future__ import annotations

import math
import time

UNITS = (("kB", 1e3, 0), ("MB", 1e6, 1), ("GB", 1e9, 2), ("TB", 1e12, 2), ("PB", 1e15, 2), ("EB", 1e18, 2))
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
MOST_DAYS = 99_999
MOST_BYTES = 999.5e18
LAST_T = 253_402_214_400.0  # the last day of the year 9999
NO_NUMBER = "?"


def size(size_bytes: float) -> str:
    """Return a size in steps of 1000: `640 kB`, `3.9 MB`, `748 MB`, `5.3 GB`, `41.2 GB`, `212 GB`; at most 8 columns.

    Gigabytes, which decide whether something fits, have a tenth until 100. What is smaller than 1 kB reads as `1 kB`:
    only nothing reads as `0 kB`.
    """
    value = _real(size_bytes)
    if math.isnan(value):
        return NO_NUMBER
    sign, value = "-" if value < 0 else "", abs(value)
    if value < 1e3:
        return f"{sign}{math.ceil(value / 1e3)} kB"
    if value >= MOST_BYTES:
        return f"{sign}>999 EB"
    for unit, amount, digits in UNITS:
        with_a_tenth = round(value / amount, 1)
        if with_a_tenth < 10**digits:
            return f"{sign}{with_a_tenth} {unit}"
        if round(value / amount) < 1000:
            break
    return f"{sign}{value / amount:.0f} {unit}"


def part_of(done_bytes: float, total_bytes: float) -> str:
    """Return a part of a size in the unit of the whole: `31.2 / 42.9 GB`, `0.6 / 1.2 TB`; at most 17 columns."""
    whole = size(total_bytes)
    amount, unit = scale(total_bytes)
    part = _real(done_bytes) / amount
    digits = 1 if "." in whole else 0
    if whole.endswith(unit) and abs(part) < 1e4:
        return f"{part:.{digits}f} / {whole}"
    return f"{size(done_bytes)} / {whole}"


def scale(size_bytes: float) -> tuple[float, str]:
    """Return what to divide by, and the unit, where several sizes are told in the unit of one: `(1e9, "GB")`."""
    return next(((amount, unit) for unit, amount, _ in reversed(UNITS) if _real(size_bytes) >= amount), (1e3, "kB"))


def rate(bytes_per_s: float) -> str:
    """Return a speed: `640 kB/s`, `12 MB/s`; at most 10 columns."""
    return f"{size(bytes_per_s)}/s"


def duration(seconds: float) -> str:
    """Return how long something ran or has to run: `0:07`, `12:40`, `3:05:00`, `4d04h`; at most 9 columns.

    To the second below 100 hours. Less than nothing reads as nothing.
    """
    value = _real(seconds)
    if math.isnan(value) or value >= MOST_DAYS * DAY_S:
        return span(value)
    total = round(max(0.0, value))
    if total >= 100 * HOUR_S:
        return span(total)
    minutes, rest = divmod(total, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """Return how long something is up, or when it comes: `45s`, `25m`, `3h15m`, `2d04h`; at most 9 columns.

    As wide for every hour of a day, where seconds would only flicker. Rounded down.
    """
    value = max(0.0, _real(seconds))
    if math.isnan(value):
        return NO_NUMBER
    if value >= (MOST_DAYS + 1) * DAY_S:
        return f">{MOST_DAYS}d"
    minutes = int(value) // 60
    if minutes < 1:
        return f"{int(value)}s"
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def ago(seconds: float) -> str:
    """Return an age in one unit: `12 s`, `5 min`, `3 h`, `2 d`; at most 9 columns."""
    value = max(0.0, _real(seconds))
    if math.isnan(value):
        return NO_NUMBER
    for most, unit, unit_s in ((99, "s", 1), (90, "min", MINUTE_S), (47, "h", HOUR_S), (MOST_DAYS, "d", DAY_S)):
        if math.isfinite(value) and round(value / unit_s) <= most:
            return f"{round(value / unit_s)} {unit}"
    return f">{MOST_DAYS} d"


def for_so_long(since_t: float | None, now_t: float) -> str:
    """Return ` for 40 s`, beside what lasts; nothing in the first ten seconds.

    In tens of seconds, so that it moves no eye.
    """
    seconds = (now_t - since_t) // 10 * 10 if since_t else 0.0
    return f" for {ago(seconds)}" if seconds >= 10 else ""


def timing(seconds: float) -> str:
    """Return what was measured, to three digits: `0.61 s`, `48.4 s`; from 100 s on as `duration`."""
    value = max(0.0, _real(seconds))
    for below, digits in ((10, 2), (100, 1)):
        if round(value, digits) < below:
            return f"{value:.{digits}f} s"
    return duration(value)


def limit(seconds: float) -> str:
    """Return a limit that somebody set, as exactly as it was: `45 s`, `30 min`, `90 min`, `2.5 h`, `24 h`.

    The agent's guard, which runs without this package, tells limits in the same words.
    """
    value = max(0.0, _real(seconds))
    if not value < 999.5 * HOUR_S:
        return ago(value)
    for unit_s, unit in ((HOUR_S, "h"), (MINUTE_S, "min")):
        if value >= 2 * unit_s or value == unit_s:
            return f"{value / unit_s:.3g} {unit}"
    return f"{value:.0f} s"


def usd(amount: float) -> str:
    """Return dollars: `$0.00`, `$13.39`, `$1,234.50`."""
    value = _real(amount)
    if not math.isfinite(value):
        return f"${NO_NUMBER}"
    sign = "-" if value <= -0.005 else ""
    return f"{sign}${abs(value):,.2f}" if abs(value) < 1e9 else f"{sign}${abs(value):.1e}"


def grouped(number: float) -> str:
    """Return a whole number with its digits in threes: `12,410`; beyond 10¹⁵ as `1.0e+18`."""
    value = _real(number)
    if not math.isfinite(value):
        return NO_NUMBER
    return f"{round(value):,}" if abs(value) < 1e15 else f"{value:.1e}"


def counted(number: int, noun: str) -> str:
    """Return how many there are of what takes an -s: `1 clip`, `12,410 clips`."""
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"


def date_time(t: float) -> str:
    """Return a moment, seconds since 1970, in local time: `2026-11-22 14:05`."""
    return _local("%Y-%m-%d %H:%M", t)


def time_of_day(t: float) -> str:
    """Return the time of a moment of today, in local time: `14:05:09`."""
    return _local("%H:%M:%S", t)


def moment_ahead(t: float, now_t: float) -> str:
    """Return a moment that is to come, in local time: `14:05`, or `14:05, Wed 02` where the day is not plain."""
    return _local("%H:%M" if t - now_t < 20 * 3600 else "%H:%M, %a %d", t)


def _local(form: str, t: float) -> str:
    value = _real(t)
    return time.strftime(form, time.localtime(value)) if 0 <= value < LAST_T else NO_NUMBER


def _real(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer that no float holds
        return math.inf if value > 0 else -math.inf
