"""A program for tests: videos in the terminal, which is asked as the app asks; `p` plays, `n` notifies, `q` ends."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from t2v_tui.widgets.video.asking import PictureApp
from t2v_tui.widgets.video.player import Player
from t2v_tui.widgets.video.sheet import Card, Sheet


class OneVideo(PictureApp):
    """videos: one is played, several are shown side by side"""

    BINDINGS: ClassVar[list[BindingType]] = [("p", "play", ""), ("n", "say", ""), ("q", "quit", "")]

    def __init__(self, wanted: str, videos: list[Path]) -> None:
        super().__init__()
        self.wanted, self.videos = wanted, videos

    def compose(self) -> ComposeResult:
        yield Player(is_remote=False) if len(self.videos) == 1 else Sheet()

    def on_mount(self) -> None:
        self.call_after_refresh(self.ask_for_pictures, self.wanted)
        if len(self.videos) == 1:
            self.query_one(Player).show(self.videos[0])
        else:
            self.query_one(Sheet).show_cards([Card(path.name, path.name, path) for path in self.videos], None)

    def action_play(self) -> None:
        self.query_one(Player).action_play()

    def action_say(self) -> None:
        self.notify("something happened", timeout=60)


if __name__ == "__main__":
    OneVideo(sys.argv[1], [Path(name) for name in sys.argv[2:]]).run()
