"""Two videos of one prompt side by side, and which is better; which is which is told only at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual._path import CSSPathType
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from t2v_core.errors import EngineError
from t2v_tui.library.votes import FIRST, SAME, SECOND, Pair, Vote, keep_vote, read_votes, tally, tally_lines, vote_on
from t2v_tui.messages import Failed
from t2v_tui.screens.panels.dialogs import Panel
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.video.player import Player

if TYPE_CHECKING:
    from t2v_core.workspace import Workspace

KEYS = "1 or ← the left one · 2 or → the right one · 0 the same · space pause · esc ends"


class BlindPanel(Panel):
    """Asks about each pair, keeps every answer at once, and shows at the end how the contenders stand."""

    AUTO_FOCUS = ""
    CSS_PATH: ClassVar[CSSPathType | None] = ["dialogs.tcss", "blind.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1,left,h", f"vote('{FIRST}')", "left", show=False),
        Binding("2,right,l", f"vote('{SECOND}')", "right", show=False),
        Binding("0,equals_sign", f"vote('{SAME}')", "same", show=False),
        Binding("space", "play", "play", show=False, priority=True),
        Binding("escape", "leave", "end", show=False),
    ]

    class Kept(Message):
        """An answer is on the disk, or cannot be written, which was said."""

    class Told(Message):
        """How they stand, a line each."""

        def __init__(self, lines: list[str]) -> None:
            super().__init__()
            self.lines = lines

    def __init__(
        self, workspace: Workspace, pairs: Sequence[Pair], *, letters: bool = False, plays: bool = True
    ) -> None:
        super().__init__()
        self.workspace, self.pairs, self.letters, self.plays = workspace, list(pairs), letters, plays
        self.at = self.cast = self.kept = 0
        self.is_over = False

    def compose(self) -> ComposeResult:
        """Lay out the two players under the prompt."""
        with Vertical(id="box", classes="blind"):
            yield Static("", id="title", markup=False)
            with Horizontal(id="both"):
                for number in (1, 2):
                    with Pane(id=f"side-{number}") as box:
                        box.entitle(str(number))
                        yield Player(id=f"player-{number}", letters=self.letters)
            yield Words(id="tally")
            yield Static(KEYS, id="keys", classes="hint", markup=False)

    def on_mount(self) -> None:
        """Begin with the first pair."""
        self.query_one("#tally").display = False
        self._show()

    @property
    def pair(self) -> Pair:
        """Return the pair that is asked about."""
        return self.pairs[self.at]

    def _players(self) -> tuple[Player, Player]:
        return self.query_one("#player-1", Player), self.query_one("#player-2", Player)

    def _show(self) -> None:
        self.query_one("#title", Static).update(f"{self.at + 1} of {len(self.pairs)} · “{self.pair.prompt}”")
        for player, video in zip(self._players(), (self.pair.first, self.pair.second), strict=True):
            player.show(self.workspace.root / video.path)

    @on(Player.Loaded)
    def _play_together(self) -> None:
        """Once both are there, from the same moment on."""
        players = self._players()
        if self.plays and all(player.film is not None for player in players):
            for player in players:
                if not player.is_playing:
                    player.action_play()

    def action_play(self) -> None:
        """Play both, or pause them."""
        for player in self._players():
            player.action_play()

    def action_vote(self, better: str) -> None:
        """Keep an answer, and ask about the next pair; after the last, show how they stand."""
        if self.is_over:
            return
        self.cast += 1
        self._keep(vote_on(self.pair, better, time.time()))
        if self.at + 1 < len(self.pairs):
            self.at += 1
            self._show()
        else:
            self._end()

    @work(thread=True, group="votes", exit_on_error=False)
    def _keep(self, vote: Vote) -> None:
        try:
            keep_vote(self.workspace, vote)
        except EngineError as error:
            self.app.post_message(Failed(error.message, error.hint))
        self.post_message(self.Kept())

    def on_blind_panel_kept(self) -> None:
        """Show how they stand once the last answer is on the disk."""
        self.kept += 1
        self._tell_at_end()

    def action_leave(self) -> None:
        """End the questions and show how they stand; then close."""
        if self.is_over or not self.cast:
            self.dismiss(None)
        else:
            self._end()

    def _end(self) -> None:
        self.is_over = True
        self._tell_at_end()

    def _tell_at_end(self) -> None:
        if self.is_over and self.kept == self.cast:
            self._read_tally()

    @work(thread=True, group="tally", exit_on_error=False)
    def _read_tally(self) -> None:
        names = {name for pair in self.pairs for name in (pair.first_is, pair.second_is)}
        self.post_message(self.Told(tally_lines(tally(read_votes(self.workspace), names))))

    def on_blind_panel_told(self, message: Told) -> None:
        """Show how they stand."""
        lines = message.lines
        self.query_one("#both").display = False
        self.query_one("#tally").display = True
        self.query_one("#title", Static).update("Which was better, over all answers in this workspace")
        self.query_one("#tally", Words).say("\n".join(lines) or "Nothing was answered.")
        self.query_one("#keys", Static).update("esc closes · every answer is in .t2v/votes.jsonl")
