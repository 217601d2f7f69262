"""Keys that come faster than screens: each waits until all is over that the one before it has begun."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from textual.events import Key, Paste
from textual.timer import Timer
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.app import App
    from textual.screen import Screen

# A key is not waited for any longer: whatever holds it up, the keyboard must not be dead.
PATIENCE_S = 1.0


class TypedAhead:
    """`5 esc 7` typed at once does what it does typed slowly.

    A key of the app comes to it last, after every widget around the focus; the screen it leads to has its focus only
    later. Keys between were taken by the screen before, or by an entry that was not meant.
    """

    def __init__(self, app: App[Any]) -> None:
        self.app = app
        self._held: deque[Key | Paste] = deque()
        self._due: Key | Paste | None = None  # whose turn it is
        self._number = 0  # of the key that is waited for
        self._patience: Timer | None = None

    def passes(self, event: Key | Paste) -> bool:
        """Tell whether it may be handled now; else it comes again by itself when it is its turn."""
        if not self.app.is_running:
            return True
        if event is self._due:
            self._due = None
        elif self._patience is not None or self._due is not None or self._held:
            self._held.append(event)
            return False
        if isinstance(event, Key) and not (event.is_printable and isinstance(self.app.focused, Input)):
            self._wait_for_it()
        elif self._held:  # an entry takes its letters in order
            self._next(self._number)
        return True

    def _wait_for_it(self) -> None:
        """Go behind the key, from the widget with the focus through all around it up to the app."""
        self._number += 1
        number, screen = self._number, self.app.screen
        path = [one for one in (self.app.focused or screen).ancestors_with_self if one is not self.app]
        self._patience = self.app.set_timer(PATIENCE_S, lambda: self._next(number))

        def step(at: int) -> None:
            if at == len(path) or not path[at].call_later(step, at + 1):
                self.app.call_later(self._settle, number, screen)

        self.app.call_later(step, 0)  # by then the key was handed to the widget with the focus

    def _settle(self, number: int, before: Screen[Any]) -> None:
        """Another screen is to be drawn once before the next key: by then it has the focus it wants."""
        if not self.app.is_running:  # its screens are gone
            return
        after = self.app.screen
        if after is before or not after.call_after_refresh(self.app.call_later, self._next, number):
            self._next(number)

    def _next(self, number: int) -> None:
        if number != self._number or self._due is not None:
            return
        if self._patience is not None:
            self._patience.stop()
            self._patience = None
        if self._held:
            self._due = self._held.popleft()
            self.app.call_later(self.app.on_event, self._due)
