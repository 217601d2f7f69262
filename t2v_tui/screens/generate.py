"""Generate: a prompt becomes a video; it can be watched while it is drawn, and others wait in line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Unmount
from textual.timer import Timer
from textual.widgets import Input, Static

from t2v_core.errors import EngineError, InvalidRequest
from t2v_tui.keys import bindings_for
from t2v_tui.library.prompts import prompts_of
from t2v_tui.library.views import FAST_NAME, SHIPPED_NAME, checkpoint_asked
from t2v_tui.messages import Failed
from t2v_tui.screens.bases.sampling_screen import CHOICES, MORE_SETTINGS, SETTINGS, SamplingScreen
from t2v_tui.store.state import LOCAL, JobKey, State
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.spec_form import SpecForm
from t2v_tui.widgets.video.film import Film, film_of
from t2v_tui.widgets.video.player import Player
from t2v_tui.workers.drafter import Drafter
from t2v_tui.workers.launch_controller import OVER

# What makes several videos of one start.
OF_SHEETS = ("seeds", "guidance_scales")
# A draft is drawn when nothing was typed for so long.
DRAFT_AFTER_S = 0.3
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

    def __init__(self) -> None:
        super().__init__()
        self.draft: Film | None = None
        self._drafter = Drafter(self._show_draft)
        self._pause: Timer | None = None
        self._why_no_drafts = ""

    def body(self) -> ComposeResult:
        """Lay out prompt and settings on the left, the result and the queue on the right."""
        with Horizontal():
            with Vertical(id="ask"):
                with Pane(id="prompt-box", classes="one-line") as box:
                    box.entitle("prompt", "enter makes it · ↑ earlier ones")
                    yield PromptInput(placeholder="what the video shows, or @FILE", id="prompt")
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
                    yield self.queue_box()

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

    # Drafts

    @on(Input.Changed, "#prompt")
    def _draft_in_a_moment(self) -> None:
        """Give up the draft of what stood there before; the next one is drawn once nothing is typed any more."""
        self._give_up_draft()
        if self._may_draft():
            self._pause = self.set_timer(DRAFT_AFTER_S, self._ask_for_draft)
        elif not self.prompt.value.strip():
            self._forget_draft()

    def _give_up_draft(self) -> None:
        if self._pause is not None:
            self._pause.stop()
        self._drafter.cancel()

    def _may_draft(self) -> bool:
        """Drafts are of the shipped model, and make way for a video that is being drawn."""
        values = self.form.values
        is_shipped = values.get("checkpoint") in (SHIPPED_NAME, FAST_NAME) and not values.get("model")
        job, launch = self.drawing.watched_job, self.cockpit.launches.in_sight
        is_free = (job is None or job.row.has_ended) and (launch is None or launch.phase in OVER)
        is_wanted = self.cockpit.settings.drafts and self.services is not None and not self._why_no_drafts
        prompt = self.prompt.value.strip()
        return is_wanted and is_shipped and is_free and bool(prompt) and not prompt.startswith("@")

    def _ask_for_draft(self) -> None:
        seed = str(self.form.values.get("seed", 0))
        self.run_worker(self._drafted(self.prompt.value.strip(), int(seed) if seed.isdecimal() else 0), group="drafts")

    async def _drafted(self, prompt: str, seed: int) -> None:
        """Ask, and listen for as long as the child lives to whoever is the first to ask it."""
        try:
            is_new = await self._drafter.ask(prompt, seed)
        except OSError as error:
            self._why_no_drafts = f"no drafts: the engine does not start ({error.strerror})"
            return
        if is_new:
            await self._drafter.listen()

    def _show_draft(self, said: bytes) -> None:
        try:
            self.draft = film_of(said, Path("draft"))
        except EngineError as error:
            self._why_no_drafts = f"no drafts: {error.message}"
        else:
            self.result.show_film(self.draft, plays=self.cockpit.settings.animation)
        self.redraw()

    def _forget_draft(self) -> None:
        if self.draft is not None:
            self.draft = None
            self.result.say(EMPTY)
            self.redraw()

    def _show_result(self, state: State, now_t: float) -> None:
        box = self.query_one("#result-box", Pane)
        if self.draft is not None:
            box.entitle("draft", "as it is typed; enter makes the video")
            return
        super()._show_result(state, now_t)
        if self._why_no_drafts and self.result.film is None:
            box.entitle("preview", self._why_no_drafts)

    def start(self, values: Mapping[str, Any], sends: Path | None = None, verb: str = "") -> None:
        """Start the work in the draft's place."""
        self._give_up_draft()
        self._forget_draft()
        super().start(values, sends, verb)

    def watch_job(self, job: JobKey) -> None:
        """Show this job's video in the draft's place."""
        self._give_up_draft()
        self._forget_draft()
        super().watch_job(job)

    @on(Unmount)
    async def _end_drafts(self) -> None:
        """End the process that draws drafts."""
        await self._drafter.close()
