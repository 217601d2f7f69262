"""What a test needs of the system: where it is missing, the test is left out by name, with the line that mends it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import pytest

sys.path.append(str(Path(__file__).parents[3] / "setup"))  # the benchmarks use this as well, without pytest

from programs import PROGRAMS, find

LEFT_OUT = re.compile(r"needs (\S+): (.+)")


def needs(name: str, *others: str) -> str:
    """Where a program of setup/programs.py lies; skips the test where it, or one of the others, is missing."""
    for one in (name, *others):
        if find(one) is None:
            leave_out(one)
    return str(find(name))


def leave_out(name: str) -> NoReturn:
    """For what shows only when it is tried that it cannot be had here."""
    pytest.skip(f"needs {name}: {PROGRAMS[name].mend}")


def left_out(reasons: Iterable[str]) -> list[str]:
    """One line for each missing program: how many tests were left out for it, and what mends that."""
    counts = Counter(found.groups() for reason in reasons if (found := LEFT_OUT.search(reason)))
    return [
        f"{count} {'test' if count == 1 else 'tests'} left out, for want of {name}: {mend}"
        for (name, mend), count in sorted(counts.items())
    ]
