"""The cursor of the entry in hand: it blinks while somebody writes, and stands still when nobody does.

Each turn of a cursor draws its entry again, which is half a percent of a core for as long as the entry has the focus.
"""

from __future__ import annotations

import time

from textual.widget import Widget
from textual.widgets import Input

# GTK's entries stop after 10 s; half of that keeps a screen that was just opened as idle as any other.
WRITING_S = 5.0


class Blinking:
    """may_blink: False where nothing is to move"""

    def __init__(self, *, may_blink: bool) -> None:
        self.may_blink = may_blink
        self._written_t = 0.0
        self._resting: Input | None = None

    def stir(self, focused: Widget | None) -> None:
        """Let it blink again: a key came, or the focus."""
        self._written_t = time.monotonic()
        if self._resting is not None:
            self._resting.cursor_blink = True
            self._resting = None
        if isinstance(focused, Input) and not self.may_blink:
            focused.cursor_blink = False

    def rest(self, focused: Widget | None) -> None:
        """Let it stand still, in sight, when nothing came for a while."""
        is_quiet = time.monotonic() - self._written_t > WRITING_S
        if isinstance(focused, Input) and focused.cursor_blink and is_quiet:
            self._resting = focused
            focused.cursor_blink = False
