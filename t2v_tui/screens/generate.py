"""Generate: a prompt becomes a video; it can be watched while it is drawn, and others wait in line."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from t2v_tui.keys import bindings_for
from t2v_tui.library.views import checkpoint_asked
from t2v_tui.screens.bases.sampling_screen import MORE_SETTINGS, QUEUE, SETTINGS, SamplingScreen, quiet
from t2v_tui.store.state import LOCAL, JobKey
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.spec_form import SpecForm
from t2v_tui.widgets.video.player import Player

EMPTY = """The video appears here while it is made.

Say what it shows, and press enter.
“a red circle moving left” is what
the shipped model was trained on."""


class GenerateScreen(SamplingScreen):
    NAME = "generate"
    VERB = "generate"
    SHOWN = ("generate",)
    CSS_PATH = "sampling.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("generate")]
    FIELDS = (*SETTINGS, "frames", "fps", "checkpoint", *MORE_SETTINGS)

    def body(self) -> ComposeResult:
        """Lay out prompt and settings on the left, the result and the queue on the right."""
        with Horizontal():
            with Vertical(id="ask"):
                with Pane(id="prompt-box", classes="one-line") as box:
                    box.entitle("prompt", "enter makes it · ↑ earlier ones")
                    yield PromptInput(placeholder="what the video shows", id="prompt")
                with Pane(id="settings") as box:
                    box.entitle("settings")
                    with Horizontal(classes="row"):
                        yield Static("host", classes="name")
                        yield Choice([(LOCAL, LOCAL)], id="host")
                        yield Static("where it is made", classes="about")
                    yield SpecForm("generate", self.FIELDS, {"prompt": "x"}, choices={"checkpoint": [("", "latest")]})
                    yield Words(id="about")
            with Vertical(id="look"):
                with Pane(id="result-box"):
                    yield Player(empty=EMPTY, id="result", letters=self.cockpit.settings.ascii)
                with Pane(id="queue-box"):
                    yield quiet(ListTable(QUEUE, id="queue"))

    def on_mount(self) -> None:
        """Offer the hosts, choose the app's, and put the focus on the prompt."""
        self.query_one("#host", Choice).offer([(name, name) for name in self.cockpit.state.hosts or (LOCAL,)])
        self.query_one("#host", Choice).choose(self.cockpit.state.host)
        self.prompt.focus()

    def arrive(self, arrival: Any) -> None:
        """Take a job to watch, or settings to fill in: a checkpoint, or those of another video."""
        if isinstance(arrival, JobKey):
            self.watch_job(arrival)
            return
        values = dict(arrival)
        if "prompt" in values:
            self.prompt.value = str(values["prompt"])
        if values.get("checkpoint"):
            values["checkpoint"] = self._checkpoint_and_host(str(values["checkpoint"]))
        self.form.fill(self.form.values | values)
        self.prompt.focus()

    def _checkpoint_and_host(self, path: str) -> str:
        """One that lies on one host only is used there."""
        asked_for = checkpoint_asked(path)
        places = [self.chosen_host, LOCAL, self.host]
        place = next((one for one in places if self.has_checkpoint(one, asked_for)), self.chosen_host)
        self.query_one("#host", Choice).choose(place)
        return self.checkpoint_for(path, place)
