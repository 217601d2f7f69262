"""Running tests of screens, which are coroutines, and waiting for what they are to show.

Style sheets mean the same to every app of a test process: each is parsed for the first of them only.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

import textual.css.stylesheet
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation
from textual.pilot import Pilot

# An engine's start alone takes half a minute where four others start beside it.
DEADLINE_S = 180.0
Parameters = ParamSpec("Parameters")
LOOKS_A_PAUSE = 8
PARSED: dict[object, list[RuleSet]] = {}
parse_rules = Stylesheet._parse_rules


def parsed_once(
    self: Stylesheet, css: str, read_from: CSSLocation, is_default_rules: bool = False, tie_breaker: int = 0,
    scope: str = "",
) -> list[RuleSet]:  # fmt: skip
    """In the place of Textual's own, which forgets all of it whenever a theme or a screen comes."""
    where = (css, read_from, is_default_rules, tie_breaker, scope)
    known = (*where, frozenset(self._variables.items()))
    if known not in PARSED:
        PARSED[known] = parse_rules(self, *where)
    return PARSED[known]


vars(textual.css.stylesheet)["Stylesheet"]._parse_rules = parsed_once


def on_screen(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """A coroutine as a test."""

    @functools.wraps(test)
    def run(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def eventually(pilot: Pilot[Any], is_so: Callable[[], bool]) -> None:
    """Let the screen go on until it is so.

    A pause asks every widget, which takes longer than 20 ms of a core where there are many: one in eight looks has it,
    and tells of an app that broke.
    """
    deadline, looks = time.monotonic() + DEADLINE_S, 0
    while not is_so():
        assert time.monotonic() < deadline, "nothing happened in time"
        looks += 1
        await (asyncio.sleep(0.02) if looks % LOOKS_A_PAUSE else pilot.pause(0.02))
