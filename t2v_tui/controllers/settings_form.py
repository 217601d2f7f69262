"""Settings that were chosen for a verb, over those of t2v.toml, and the form that asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from textual.app import App

from t2v_core.errors import EngineError
from t2v_core.format import size
from t2v_core.workspace import Workspace
from t2v_tui.messages import Failed
from t2v_tui.workers.services import Services

if TYPE_CHECKING:
    from remote.replies.files import OpenModelEntry


class SettingsForm:
    """chosen: by verb; kept: called when they changed; models: those of the chosen host, asked in a thread"""

    def __init__(
        self,
        app: App[Any],
        workspace: Workspace,
        chosen: Mapping[str, Mapping[str, Any]],
        kept: Callable[[], None],
        models: Callable[[], Sequence[OpenModelEntry]],
    ) -> None:
        self.app, self.workspace, self.kept, self.models = app, workspace, kept, models
        self.chosen: dict[str, Mapping[str, Any]] = dict(chosen)

    async def ask(self, verb: str) -> bool:
        """Show a verb's settings as a form; returns whether to start with them. Runs in a worker of the app."""
        from t2v_tui.screens.panels.train_settings import TrainSettings  # with pydantic's fields

        form = TrainSettings(self.chosen.get(verb, {}), self._effective(verb), await asyncio.to_thread(self._offered))
        answer = await self.app.push_screen_wait(form)
        if answer is None:
            return False
        self.chosen[verb], starts = answer
        self.kept()
        return starts

    def _offered(self) -> dict[str, list[tuple[str, str]]]:
        """What a training may go on from, beside its preset: open models of the chosen host, checkpoints of ours."""
        from t2v_tui.library.local import checkpoints_here
        from t2v_tui.library.on_host import choices_of
        from t2v_tui.library.views import SHIPPED_NAME, shown_name

        ours = [one for one in checkpoints_here(self.workspace) if one.is_complete and not one.is_old]
        ours.sort(key=lambda one: -(one.step or 0))
        named = [(one.path, f"{shown_name(one.name)} · {size(one.size_bytes)}") for one in ours]
        return {
            "model": [("", "none: from the start"), *choices_of(self.models())],
            "base": [("", "none"), *named, (SHIPPED_NAME, "the shipped model")],
        }

    def _effective(self, verb: str) -> dict[str, Any]:
        """What holds where nothing is chosen; the spec's own when t2v.toml is wrong, which the start will say."""
        from t2v_core.specs import SPECS, all_values

        try:
            return all_values(Services(self.workspace).spec(verb, {}))
        except EngineError as error:
            self.app.post_message(Failed(error.message, error.hint))
            return all_values(SPECS[verb]())
