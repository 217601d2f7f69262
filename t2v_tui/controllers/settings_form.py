"""Settings that were chosen for a verb, over those of t2v.toml, and the form that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from textual.app import App

from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace
from t2v_tui.messages import Failed
from t2v_tui.workers.services import Services


class SettingsForm:
    """chosen: by verb; kept: called when they changed"""

    def __init__(
        self,
        app: App[Any],
        workspace: Workspace,
        chosen: Mapping[str, Mapping[str, Any]],
        kept: Callable[[], None],
    ) -> None:
        self.app, self.workspace, self.kept = app, workspace, kept
        self.chosen: dict[str, Mapping[str, Any]] = dict(chosen)

    async def ask(self, verb: str) -> bool:
        """Show a verb's settings as a form; returns whether to start with them. Runs in a worker of the app."""
        from t2v_tui.screens.panels.train_settings import TrainSettings  # with pydantic's fields

        form = TrainSettings(self.chosen.get(verb, {}), self._effective(verb))
        answer = await self.app.push_screen_wait(form)
        if answer is None:
            return False
        self.chosen[verb], starts = answer
        self.kept()
        return starts

    def _effective(self, verb: str) -> dict[str, Any]:
        """What holds where nothing is chosen; the spec's own when t2v.toml is wrong, which the start will say."""
        from t2v_core.specs import SPECS, all_values

        try:
            return all_values(Services(self.workspace).spec(verb, {}))
        except EngineError as error:
            self.app.post_message(Failed(error.message, error.hint))
            return all_values(SPECS[verb]())
