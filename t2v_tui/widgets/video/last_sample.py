"""The newest sample of the training that is shown, playing."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.events import Resize
from textual.widget import Widget

from t2v_core.format import grouped
from t2v_tui.store.state import JobKey, Sample
from t2v_tui.widgets.pane import Pane
from t2v_tui.widgets.video.pictures import pictures_of
from t2v_tui.widgets.video.player import Player

TITLE = "last sample"
# Border and padding; and what the pane may take of the row it stands in, as the curve stands there too.
AROUND, NARROWEST, MOST_OF_ROW = 4, 24, 0.36


class LastSample(Pane):
    """letters: no half blocks; plays: a new one plays by itself"""

    def __init__(self, *, letters: bool, plays: bool) -> None:
        super().__init__(id="sample")
        self.player, self.plays = Player(letters=letters), plays
        self._shown: tuple[JobKey, Sample, Path | None, str] | None = None

    def compose(self) -> ComposeResult:
        """Lay out the player."""
        yield self.player

    def on_mount(self) -> None:
        """Write the title into the border."""
        self.entitle(TITLE)

    def on_resize(self, _: Resize) -> None:
        """Be as wide as a picture of this height: the curve gets the rest."""
        if self.has_class("-maximized") or not isinstance(self.parent, Widget):
            self.styles.width = "1fr"
            return
        width, height = pictures_of(self).cell
        most = int(self.parent.size.width * MOST_OF_ROW)
        self.styles.width = max(NARROWEST, min(most, self.size.height * height // width + AROUND))

    def show_none(self) -> None:
        """Show that the training has made none yet."""
        if self._shown is not None:
            self._shown = None
            self.entitle(TITLE)
            self.player.show(None)

    def show_sample(self, job: JobKey, sample: Sample, path: Path | None, word: str, *, is_last: bool = True) -> None:
        """Show a file of this machine, or a word on where it is."""
        showing = (job, sample, path, "last" if path and is_last else "" if path else word)
        if showing == self._shown:
            return
        self._shown = showing
        self.entitle(f"{TITLE if is_last else 'sample'} · step {grouped(sample.step)}", sample.prompt[:40])
        if path is not None:
            self.player.show(path, plays=self.plays)
        else:
            self.player.say(word)
