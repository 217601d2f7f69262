"""Running tests of screens, which are coroutines, and waiting for what they are to show."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from textual.pilot import Pilot

# An engine's start alone takes half a minute where four others start beside it.
DEADLINE_S = 180.0
Parameters = ParamSpec("Parameters")


def on_screen(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """A coroutine as a test."""

    @functools.wraps(test)
    def run(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def eventually(pilot: Pilot[Any], is_so: Callable[[], bool]) -> None:
    """Let the screen go on until it is so."""
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "nothing happened in time"
        await pilot.pause(0.02)
