"""Vid2Vid: a video goes in, noised and denoised towards a prompt; before and after stand side by side."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import unquote, urlparse

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Paste
from textual.widgets import Input, Static

from t2v_core.workspace import expanded
from t2v_tui.keys import bindings_for
from t2v_tui.library.views import VideoView
from t2v_tui.messages import Failed
from t2v_tui.screens.bases.sampling_screen import CHOICES, MORE_SETTINGS, SamplingScreen
from t2v_tui.store.state import LOCAL, JobKey, State
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.spec_form import SpecForm
from t2v_tui.widgets.video.player import Player

BEFORE = (
    "Drop a video file here, type its path, or press ↑ for those of this workspace. On screen 3, r brings one along."
)
AFTER = "The result appears here while it is made."
BAR_CELLS = 20


class PathInput(PromptInput):
    """A path; a file that is dropped on a terminal arrives as pasted text, quoted in one way or another."""

    TAKES_LINES = True

    def _on_paste(self, event: Paste) -> None:
        event.stop()
        event.prevent_default()
        if (lines := len(event.text.split("\n"))) > 1:
            self.notify(f"{lines} lines were pasted: the first one is used", timeout=4)
        self.value = path_in(event.text)
        self.cursor_position = len(self.value)


class Vid2VidScreen(SamplingScreen):
    NAME = "vid2vid"
    VERB = "refine"
    SHOWN = ("refine", "add-noise")
    CSS_PATH: ClassVar[list[str | PurePath]] = ["sampling.tcss", "vid2vid.tcss"]
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("vid2vid")]

    FIELDS = ("strength", "steps", "guidance_scale", "seed", "model", "checkpoint", "overlap", *MORE_SETTINGS)

    def body(self) -> ComposeResult:
        """Lay out path, prompt and settings on the left, before and after over the queue on the right."""
        with Horizontal():
            with Vertical(id="ask"):
                with Pane(id="prompt-box", classes="two-lines") as box:
                    box.entitle("video and prompt", "enter refines it · ↑ earlier ones")
                    yield PathInput(placeholder="path of a video", id="path")
                    yield PromptInput(placeholder="what it should show", id="prompt")
                with Pane(id="settings") as box:
                    box.entitle("settings")
                    with Horizontal(classes="row"):
                        yield Static("host", classes="name")
                        yield Choice([(LOCAL, LOCAL)], id="host")
                        yield Static("where it is made; a local video is sent there first", classes="about")
                    example = {"prompt": "x", "input": "in.mp4", "output": "out.mp4"}
                    yield SpecForm("refine", self.FIELDS, example, choices=CHOICES)
                    yield Words(id="noise")
                    yield Words(id="about")
            with Vertical(id="look"):
                with Horizontal(id="both"):
                    with Pane(id="before-box") as box:
                        box.entitle("before")
                        yield Player(empty=BEFORE, id="before", letters=self.cockpit.settings.ascii)
                    with Pane(id="result-box"):
                        yield Player(empty=AFTER, id="result", letters=self.cockpit.settings.ascii)
                with Pane(id="queue-box"):
                    yield self.queue_box()

    def on_mount(self) -> None:
        """Offer the hosts, choose the app's, and put the focus on the path."""
        host = self.query_one("#host", Choice)
        host.offer([(name, name) for name in self.cockpit.state.hosts or (LOCAL,)])
        host.choose(self.cockpit.state.host)
        self.path.focus()
        self._show_noise()

    @property
    def path(self) -> PathInput:
        """Return the entry of the video's path."""
        return self.query_one("#path", PathInput)

    @property
    def before(self) -> Player:
        """Return the player of the video that goes in."""
        return self.query_one("#before", Player)

    def arrive(self, arrival: Any) -> None:
        """Take a job to watch, or a video to refine."""
        if isinstance(arrival, JobKey):
            self.watch_job(arrival)
            return
        self.path.value = str(arrival["input"])
        self.path.cursor_position = 0
        host = LOCAL if arrival.get("is_here", True) else self.cockpit.state.host
        if arrival.get("checkpoint"):
            checkpoint = self.checkpoint_for(str(arrival["checkpoint"]), host)
            self.form.fill(self.form.values | {"checkpoint": checkpoint})
        self.prompt.value = str(arrival.get("prompt", ""))
        self.query_one("#host", Choice).choose(host)
        self.prompt.focus()

    def show(self, state: State, now_t: float) -> None:
        """Draw what Generate has too; an empty path takes the video that the watched job refines."""
        super().show(state, now_t)
        self.path.history = [video.path for video in self.here.videos]
        watched = self.drawing.watched
        said = self.drawing.specs.get(watched, {}).get("input") if watched is not None else None
        if said and not self.path.value:
            self.path.value = str(said)
        if (there := self._video_there) is not None:  # its frames may have come
            self.previews.show_in(self.before, there)

    @property
    def _video_there(self) -> VideoView | None:
        """The video that the path names, where it lies on the host only."""
        path = self.path.value
        there = next((video for video in self.known_there().videos if video.path == path), None)
        is_here = (self.cockpit.workspace.root / path).is_file()
        return None if there is None or is_here else replace(there, is_here=False, is_there=True)

    @on(Input.Changed, "#path")
    def _other_video(self, message: Input.Changed) -> None:
        self.previews.shown = None
        path = self.cockpit.workspace.root / message.value
        if message.value and path.is_file():
            self.before.show(path)
        elif message.value and (there := self._video_there) is not None:
            self.previews.want([there])
            self.previews.show_in(self.before, there)
        elif message.value:
            self.before.say("There is no such file here.")
        else:
            self.before.show(None)

    @on(Input.Submitted, "#path")
    def _to_prompt(self, message: Input.Submitted) -> None:
        message.stop()
        self.prompt.focus()

    @on(Input.Changed, "#in-strength")
    @on(Input.Changed, "#in-steps")
    def _show_noise(self) -> None:
        fields = self.form.fields
        values = {name: self.form.values.get(name, fields[name].default) for name in ("strength", "steps")}
        self.query_one("#noise", Words).say(noise_in_words(values["strength"], values["steps"]))

    def action_start(self) -> None:
        """Refine the video; one that lies here is sent to another host first."""
        values = self.asked()
        if values is None:
            return
        path = self.path.value.strip()
        if not path:
            self.post_message(Failed("there is no video to refine yet", "drop a file, or press r on screen 3"))
            self.path.focus()
            return
        host = self.chosen_host
        if host == LOCAL and not (self.cockpit.workspace.root / path).is_file():
            self.post_message(Failed(f"there is no file {path} here", "drop the file, or type its path"))
            return
        known = {video.path for video in (*self.here.videos, *self.known_there().videos)}
        values |= {"input": path, "output": output_for(path, known), "keep_existing": True}
        file = self.cockpit.workspace.root / expanded(Path(path))
        self.start(values, file if host != LOCAL and file.is_file() else None)

    def action_play(self) -> None:
        """Play both at once, from the same moment on."""
        self.before.action_play()
        self.result.action_play()


def path_in(text: str) -> str:
    """Return the first path of what was dropped: `'/a b.mp4'`, `/a\\ b.mp4`, `file:///a%20b.mp4` or plain."""
    line = next(iter(text.strip().splitlines()), "")
    if line.startswith("file://"):
        return unquote(urlparse(line).path)
    try:
        words = shlex.split(line)
    except ValueError:
        return line
    return words[0] if len(words) == 1 else line


def output_for(path: str, known: Collection[str]) -> str:
    """Return a new name in outputs/: `outputs/NAME-refined.mp4`, `outputs/NAME-refined-2.mp4`, …"""
    stem = PurePosixPath(path).stem.partition("-refined")[0]
    names = (f"outputs/{stem}-refined{suffix}.mp4" for suffix in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(name for name in names if name not in known)


def noise_in_words(strength: object, steps: object) -> str:
    """Return `about 15 of 50 steps  ██████░░░░░░░░░░░░░░`, or nothing for what is no number."""
    try:
        share, count = float(str(strength)), int(str(steps))
    except ValueError:
        return ""
    share = min(1.0, max(0.0, share))
    filled = round(share * BAR_CELLS)
    return f"about {round(share * count)} of {count} steps  {'█' * filled}{'░' * (BAR_CELLS - filled)}"
