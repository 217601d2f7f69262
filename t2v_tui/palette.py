"""The palette: every action by name, with its key."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from t2v_tui.keys import Key
from t2v_tui.registry import SCREENS
from t2v_tui.screens.bases.base import Cockpit


class Actions(Provider):
    """What can be done on the screen that is up, and everywhere."""

    def _keys(self) -> list[Key]:
        screen = self.screen
        if not isinstance(screen, Cockpit):
            return []
        known = {entry.name for entry in SCREENS}
        found = [key for _, keys in screen.keys_now() for key in keys]
        return [key for key in found if not key.action.startswith("go(") or key.action[4:-2] in known]

    async def discover(self) -> Hits:
        """Yield every action, before anything is typed."""
        for key in self._keys():
            yield DiscoveryHit(self._line(key), partial(self._run, key))

    async def search(self, query: str) -> Hits:
        """Yield the actions that match what was typed, each with its score."""
        matcher = self.matcher(query)
        for key in self._keys():
            line = self._line(key)
            if (score := matcher.match(line)) > 0:
                yield Hit(score, matcher.highlight(line), partial(self._run, key))

    def _line(self, key: Key) -> str:
        is_said = not key.label or key.label.lower() in key.what.lower()
        return f"{key.what if is_said else f'{key.label}: {key.what}'}  ({key.shown})"

    async def _run(self, key: Key) -> None:
        if isinstance(screen := self.screen, Cockpit):
            await screen.cockpit.run_key(key)
