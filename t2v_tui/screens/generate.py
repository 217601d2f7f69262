"""Generate: a prompt becomes a video; it can be watched while it is drawn, and others wait in line."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from t2v_core.errors import InvalidRequest
from t2v_tui.keys import bindings_for
from t2v_tui.library.prompts import prompts_of
from t2v_tui.library.views import checkpoint_asked
from t2v_tui.messages import Failed
from t2v_tui.screens.bases.sampling_screen import CHOICES, MORE_SETTINGS, QUEUE, SETTINGS, SamplingScreen, quiet
from t2v_tui.store.state import LOCAL, JobKey
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.spec_form import SpecForm
from t2v_tui.widgets.video.player import Player

# What makes several videos of one start.
OF_SHEETS = ("seeds", "guidance_scales")
EMPTY = """The video appears here while it is made.

Say what it shows, and press enter.
“a red circle moving left” is what
the shipped model was trained on.

@prompts.txt, seeds 3 or guidance
scales 1,2,4 make a sheet of many."""


class GenerateScreen(SamplingScreen):
    NAME = "generate"
    VERB = "generate"
    SHOWN = ("generate", "sheet")
    CSS_PATH = "sampling.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("generate")]
    FIELDS = (*SETTINGS, *OF_SHEETS, "frames", "fps", "model", "checkpoint", *MORE_SETTINGS)

    def body(self) -> ComposeResult:
        """Lay out prompt and settings on the left, the result and the queue on the right."""
        with Horizontal():
            with Vertical(id="ask"):
                with Pane(id="prompt-box", classes="one-line") as box:
                    box.entitle("prompt", "enter makes it · ↑ earlier ones")
                    yield PromptInput(placeholder="what the video shows, or @FILE with a prompt a line", id="prompt")
                with Pane(id="settings") as box:
                    box.entitle("settings")
                    with Horizontal(classes="row"):
                        yield Static("host", classes="name")
                        yield Choice([(LOCAL, LOCAL)], id="host")
                        yield Static("where it is made", classes="about")
                    yield SpecForm("sheet", self.FIELDS, {"prompts": "x"}, choices=CHOICES)
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

    def action_start(self) -> None:
        """Start one video; of a list of prompts, several seeds or guidance scales a sheet of them."""
        values = self.asked()
        if values is None:
            return
        prompt = str(values["prompt"])
        if not prompt.startswith("@") and not any(name in values for name in OF_SHEETS):
            self.start(values)
            return
        try:
            prompts = prompts_of(prompt, self.cockpit.workspace.root)
        except InvalidRequest as error:
            self.post_message(Failed(error.message, error.hint))
            return
        self.start({**values, "prompts": prompts}, verb="sheet")

    def _checkpoint_and_host(self, path: str) -> str:
        """One that lies on one host only is used there."""
        asked_for = checkpoint_asked(path)
        places = [self.chosen_host, LOCAL, self.host]
        place = next((one for one in places if self.has_checkpoint(one, asked_for)), self.chosen_host)
        self.query_one("#host", Choice).choose(place)
        return self.checkpoint_for(path, place)
