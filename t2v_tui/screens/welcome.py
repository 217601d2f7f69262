"""The first page: three ways to begin, and what each still needs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from t2v_tui.screens.base import Cockpit
from t2v_tui.state import State


class WelcomeScreen(Cockpit):
    NAME = "welcome"

    def body(self) -> ComposeResult:
        yield Static("welcome", id="welcome")

    def show(self, state: State, now_t: float) -> None:
        """Nothing yet."""
