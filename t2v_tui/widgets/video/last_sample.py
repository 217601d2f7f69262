"""The newest sample of the training that is shown, playing."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult

from t2v_core.format import grouped
from t2v_tui.store.state import JobKey, Sample
from t2v_tui.widgets.pane import Pane
from t2v_tui.widgets.video.player import Player

TITLE = "last sample"
EMPTY = "Samples are made at each checkpoint,\nand play here."


class LastSample(Pane):
    """letters: no half blocks; plays: a new one plays by itself"""

    def __init__(self, *, letters: bool, plays: bool) -> None:
        super().__init__(id="sample")
        self.player, self.plays = Player(empty=EMPTY, letters=letters), plays
        self._shown: tuple[JobKey, Sample, Path | None, str] | None = None

    def compose(self) -> ComposeResult:
        """Lay out the player."""
        yield self.player

    def on_mount(self) -> None:
        """Write the title into the border."""
        self.entitle(TITLE)

    def show_none(self) -> None:
        """Show that the training has made none yet."""
        if self._shown is not None:
            self._shown = None
            self.entitle(TITLE)
            self.player.show(None)

    def show_sample(self, job: JobKey, sample: Sample, path: Path | None, word: str) -> None:
        """Show a file of this machine, or a word on where it is."""
        showing = (job, sample, path, "" if path else word)
        if showing == self._shown:
            return
        self._shown = showing
        self.entitle(f"{TITLE} · step {grouped(sample.step)}", sample.prompt[:40])
        if path is not None:
            self.player.show(path, plays=self.plays)
        else:
            self.player.say(word)
