"""One thing that was looked at: how it is, in a sentence, and the line that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """good: as it should be; odd: works, and wants a look; bad: something will not work"""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """mend: the exact line to type when it is not good; empty only when no line can"""

    name: str
    state: State
    sentence: str
    mend: str = ""


def good(name: str, sentence: str) -> Check:
    """Return a check of what is as it should be."""
    return Check(name, State.GOOD, sentence)


def odd(name: str, sentence: str, mend: str = "") -> Check:
    """Return a check of what works, and wants a look."""
    return Check(name, State.ODD, sentence, mend)


def bad(name: str, sentence: str, mend: str = "") -> Check:
    """Return a check of what will not work."""
    return Check(name, State.BAD, sentence, mend)
