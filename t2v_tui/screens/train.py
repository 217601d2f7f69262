"""Training: steps, curve, gauges, sample, log."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from t2v_tui.screens.base import Cockpit
from t2v_tui.state import State


class TrainScreen(Cockpit):
    NAME = "train"

    def body(self) -> ComposeResult:
        yield Static("train", id="train")

    def show(self, state: State, now_t: float) -> None:
        """Nothing yet."""
