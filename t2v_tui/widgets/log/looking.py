"""How often a file is looked at: twelve times a second while lines come, twice while none do."""

from __future__ import annotations

from collections.abc import Callable

from textual.timer import Timer
from textual.widget import Widget

LOOKS_A_SECOND = 12
# A log that was quiet for so many of these looks is looked at only so often.
QUIET_LOOKS, QUIET_S = 24, 0.5


class Looks:
    """look: looks at the file, and calls `stir` when something came"""

    def __init__(self, widget: Widget, look: Callable[[], None]) -> None:
        self._look, self._quiet = look, 0
        self._often: Timer = widget.set_interval(1 / LOOKS_A_SECOND, self._tick)
        widget.set_interval(QUIET_S, self._tick_when_quiet)

    def _tick(self) -> None:
        self._quiet += 1
        if self._quiet > QUIET_LOOKS:
            self._often.pause()
        self._look()

    def _tick_when_quiet(self) -> None:
        if self._quiet > QUIET_LOOKS:
            self._look()

    def stir(self) -> None:
        """Look often again: lines came, or where we look is another place."""
        self._quiet = 0
        self._often.resume()
