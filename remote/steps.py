"""How work that has several steps tells what it does: a screen draws these, a command line prints them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """ok: was so already; doing; done: has been changed; note: cannot be changed by us, and does not hinder; failed."""

    OK = "ok"
    DOING = "doing"
    DONE = "done"
    NOTE = "note"
    FAILED = "failed"


@dataclass(frozen=True)
class StepState:
    """How one step stands.

    name:   one word or two, the same each time: python, disk, release …
    detail: what is there, or what happens just now
    hint:   what to do about a failed one
    """

    name: str
    status: Status
    detail: str = ""
    hint: str = ""
