"""Every size, time, amount and count reads the same everywhere, fits its column, and is never an error."""

import math
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remote.agent.guard.rules import limit_words as limit_by_the_agent
from t2v_core.format import (
    ago,
    counted,
    date_time,
    duration,
    for_so_long,
    grouped,
    limit,
    part_of,
    rate,
    size,
    span,
    time_of_day,
    timing,
    usd,
)

ROOT = Path(__file__).parents[2]
ANY_NUMBER = st.one_of(st.floats(), st.integers(), st.sampled_from([0, -0.0, 10**400, -(10**400), 10**5000, math.nan]))
SECONDS = st.floats(0, 3e9)
UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
# One text, and the most columns that it takes.
WIDEST: dict[Callable[[float], str], int] = {
    size: 8, rate: 10, duration: 9, span: 9, ago: 9, limit: 9, timing: 9, date_time: 16, time_of_day: 8, grouped: 20,
    usd: 18,
}  # fmt: skip


@pytest.mark.parametrize("tell", WIDEST, ids=lambda tell: tell.__name__)
@given(number=ANY_NUMBER)
def test_whatever_the_number_is_it_reads_as_something_that_fits(tell: Callable[[float], str], number: float) -> None:
    text = tell(number)

    assert 0 < len(text) <= WIDEST[tell]
    assert not re.search(r"nan|inf|e\+", text) or tell in (grouped, usd)


@given(ANY_NUMBER, ANY_NUMBER)
def test_a_part_of_a_size_always_fits(done_bytes: float, total_bytes: float) -> None:
    assert len(part_of(done_bytes, total_bytes)) <= 19


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 kB"), (1, "1 kB"), (640e3, "640 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"), (3.94e6, "3.9 MB"),
        (9.949e6, "9.9 MB"), (9.96e6, "10 MB"), (748e6, "748 MB"), (999.6e6, "1.0 GB"), (5.3e9, "5.3 GB"),
        (41.2e9, "41.2 GB"), (99.96e9, "100 GB"), (212e9, "212 GB"), (1.24e12, "1.2 TB"), (1e30, ">999 EB"),
        (-5.3e9, "-5.3 GB"), (math.nan, "?"),
    ],
)  # fmt: skip
def test_a_size(size_bytes: float, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"), (-3, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (760, "12:40"), (3599.6, "1:00:00"),
        (11_100, "3:05:00"), (359_999.6, "4d04h"), (math.inf, ">99999d"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_other_ways_to_tell_a_time() -> None:
    assert [span(s) for s in (45, 1500, 3599.9, 11_700, 86_399, 187_200)] == [
        "45s", "25m", "59m", "3h15m", "23h59m", "2d04h",
    ]  # fmt: skip
    assert [ago(s) for s in (12, 99.6, 300, 5399, 10_800, 172_800)] == [
        "12 s",
        "2 min",
        "5 min",
        "90 min",
        "3 h",
        "2 d",
    ]
    assert [limit(s) for s in (45, 60, 90, 1800, 5400, 9000, 86_400)] == [
        "45 s", "1 min", "90 s", "30 min", "90 min", "2.5 h", "24 h",
    ]  # fmt: skip
    assert [timing(s) for s in (0.61, 9.996, 48.4, 99.96, 696, 69_480)] == [
        "0.61 s", "10.0 s", "48.4 s", "1:40", "11:36", "19:18:00",
    ]  # fmt: skip
    assert [for_so_long(t, 100.0) for t in (None, 95.0, 58.0)] == ["", "", " for 40 s"]


def test_money_counts_parts_and_speeds() -> None:
    assert [usd(n) for n in (0, -0.001, 13.394, 1234.5, -2)] == ["$0.00", "$0.00", "$13.39", "$1,234.50", "-$2.00"]
    assert [counted(n, "clip") for n in (0, 1, 12_410)] == ["0 clips", "1 clip", "12,410 clips"]
    assert [part_of(31.2e9, 42.94e9), part_of(6e11, 1.2e12), part_of(-1, 0)] == [
        "31.2 / 42.9 GB", "0.6 / 1.2 TB", "-0 / 0 kB",
    ]  # fmt: skip
    assert rate(12.4e6) == "12 MB/s"


def _bytes_in(text: str) -> float:
    number, unit = text.split()
    return float(number) * 1000.0 ** ("kB", "MB", "GB", "TB", "PB", "EB").index(unit) * 1000


@given(st.floats(0, 9e20), st.floats(0, 9e20))
def test_more_bytes_never_read_as_less(one: float, other: float) -> None:
    less, more = sorted((one, other))

    assert _bytes_in(size(less)) <= _bytes_in(size(more))


@given(st.floats(1e3, 9e20))
@example(999_499.9)
@example(999_999_999.0)
def test_a_size_has_at_most_three_digits_and_is_off_by_a_twentieth_at_most(size_bytes: float) -> None:
    assert re.fullmatch(r"\d\d?\.\d [MGTPE]B|[1-9]\d{0,2} [kMGTPE]B", size(size_bytes))
    assert _bytes_in(size(size_bytes)) == pytest.approx(size_bytes, rel=0.34 if size_bytes < 10e3 else 0.051)


def _seconds_in(text: str) -> float:
    if ":" in text:
        parts = [int(part) for part in text.split(":")]
        assert all(part < 60 for part in parts[1:]), "a minute has 60 seconds"
        return sum(part * 60**place for place, part in enumerate(reversed(parts)))
    found = re.findall(r"([\d.]+) ?(min|[smhd])", text)
    return sum(float(number) * UNITS_S[unit] for number, unit in found)


@pytest.mark.parametrize("tell", [duration, span, ago, timing, limit])
@given(one=SECONDS, other=SECONDS)
def test_a_longer_time_never_reads_as_a_shorter_one(tell: Callable[[float], str], one: float, other: float) -> None:
    less, more = sorted((one, other))

    assert _seconds_in(tell(less)) <= _seconds_in(tell(more))


@given(SECONDS)
def test_what_a_span_leaves_over_fits_its_unit(seconds: float) -> None:
    assert re.fullmatch(r"[1-5]?\ds|[1-5]?\dm|(1?\d|2[0-3])h[0-5]\dm|\d+d([01]\d|2[0-3])h", span(seconds))


@given(st.floats(0, 30 * 86_400))
def test_the_agent_tells_a_limit_in_the_same_words(seconds: float) -> None:
    assert limit_by_the_agent(seconds) == limit(seconds)


def test_no_other_module_forms_a_size_a_price_or_a_date() -> None:
    """A size that is divided within a text, a unit beside it: what this module is for."""
    own = r"/ ?1e[369][^\"]*\} ?(kB|MB|GB)|\$\{[a-z_.]+:,?\.2f\}|\{[^}\"]*strftime\("
    found = subprocess.run(
        ["git", "grep", "-nE", own, "--", "t2v_core/*.py", "remote/*.py", "t2v_tui/*.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    others = [line for line in found.stdout.splitlines() if not line.startswith("t2v_core/format.py")]
    # File names and the crash log's own stamps are read by programs as well.
    assert [line for line in others if not re.search(r"%m%d|%Y%m%d|crash_report", line)] == []
