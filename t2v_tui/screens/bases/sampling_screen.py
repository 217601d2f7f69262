"""What Generate and Vid2Vid share: a prompt, settings, a host; the jobs that draw, and what they draw while they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input

from t2v_core.data.video.beside import names_beside
from t2v_core.disk.files import MANIFEST
from t2v_core.errors import EngineError
from t2v_tui.keys import bindings_for
from t2v_tui.library.prompts import read_prompts, remember_prompt
from t2v_tui.library.views import SHIPPED_NAME, checkpoint_asked, prompts_in_words, shown_name
from t2v_tui.messages import Failed, StartWork, StopWork
from t2v_tui.screens.bases.drawing_jobs import DrawingJobs, Drawn, SpecsRead
from t2v_tui.screens.bases.form_choices import FormChoices, ModelsRead
from t2v_tui.screens.bases.library_screen import LibraryScreen
from t2v_tui.screens.bases.waiting_job import RoomReckoned, WaitingJob
from t2v_tui.store.state import LOCAL, JobKey, JobView, Sample, State
from t2v_tui.text.drawing import before_a_frame, before_a_job, how_far, stage_of
from t2v_tui.text.job_words import JOB_GLYPHS
from t2v_tui.text.unreachable import asked, not_heard, waits
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.widgets.launch_panel import LaunchDrawer
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.narrowed import Narrowed
from t2v_tui.widgets.pane import Pane, Words
from t2v_tui.widgets.rows import RowList
from t2v_tui.widgets.spec_form import SpecForm
from t2v_tui.widgets.video.player import Player
from t2v_tui.workers.launch_controller import OVER
from t2v_tui.workers.sample_sync import in_workspace

LOOK_EVERY_S = 1.0
# What a checkpoint has, and an open model brings itself.
NOT_FOR_OPEN = ("checkpoint", "weights")
QUEUE, QUEUE_SAYS = (("job", 11), ("", None)), ("state", "prompt")
SETTINGS = ("steps", "guidance_scale", "seed")
CHOICES = {"checkpoint": [("", "latest")], "model": [("", "a checkpoint")]}
MORE_SETTINGS = ("sampler", "guidance_rescale", "weights", "precision", "device")


class SamplingScreen(LibraryScreen):
    """VERB: what it starts; SHOWN: the verbs whose jobs it lists"""

    GROUPS: ClassVar[tuple[str, ...]] = ("drawing",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("drawing")]
    VERB: ClassVar[str]
    SHOWN: ClassVar[tuple[str, ...]]

    class PromptsRead(Message):
        def __init__(self, prompts: list[str]) -> None:
            super().__init__()
            self.prompts = prompts

    def __init__(self) -> None:
        super().__init__()
        self.drawing = DrawingJobs(self, self.SHOWN)
        self._fetched: set[JobKey] = set()
        self.choices = FormChoices(self)
        self.waiting = WaitingJob(self)

    def on_mount(self) -> None:
        """Read the earlier prompts, and look every second for what the watched job has drawn."""
        self._read_prompts()
        self.set_interval(LOOK_EVERY_S, self.drawing.read_preview)

    @property
    def result(self) -> Player:
        """Return the player that shows what was drawn."""
        return self.query_one("#result", Player)

    @property
    def prompt(self) -> PromptInput:
        """Return the entry of the prompt."""
        return self.query_one("#prompt", PromptInput)

    @property
    def form(self) -> SpecForm:
        """Return the form of the settings."""
        return self.query_one(SpecForm)

    @property
    def chosen_host(self) -> str:
        """Return the host that the form names, which need not be the app's."""
        return self.query_one("#host", Choice).value

    @property
    def queue(self) -> ListTable:
        """Return the list of jobs that draw, those that have ended last."""
        return self.query_one("#queue", ListTable)

    @property
    def listed(self) -> Narrowed:
        """Return the queue with its filter."""
        return self.query_one(Narrowed)

    def queue_box(self) -> Narrowed:
        """Return the queue, to be laid out: it is as long as there are jobs, and `/` narrows it."""
        return Narrowed(ListTable(QUEUE, id="queue", has_heads=False), QUEUE_SAYS)

    # Drawing

    def show(self, state: State, now_t: float) -> None:
        """Draw the form's choices, the queue, and what the watched job has drawn."""
        self.choices.offer(state)
        jobs = self.drawing.listed(state)
        self.drawing.follow(jobs)
        rows = {f"{job.key.host}\t{job.key.job}": job for job in jobs}
        self.listed.show_items(rows, lambda job: self._cells(job, state))
        alive = sum(not job.row.has_ended for job in jobs)
        box = self.query_one("#queue-box", Pane)
        at_work = f"{alive} at work or waiting" if alive else ""
        parts = ["queue", at_work if jobs else "nothing yet", self.listed.in_words]
        box.entitle(" · ".join(filter(None, parts)), self._about_host(state, now_t) or None)
        self._show_result(state, now_t)

    def _about_host(self, state: State, now_t: float) -> str:
        """That the host of the form, or of the watched job, is asked or not heard; else nothing."""
        watched = self.drawing.watched
        named = [watched.host if watched is not None else "", self.chosen_host]
        cells = self.query_one("#queue-box").size.width - 2
        hosts = [state.hosts[name] for name in named if name in state.hosts and name != LOCAL]
        said = [not_heard(host, now_t, cells) or (asked(host, now_t) if waits(host) else "") for host in hosts]
        return next(filter(None, said), "")

    @on(ModelsRead)
    def _take_models(self, message: ModelsRead) -> None:
        """Offer the open models of a host."""
        self.choices.take(message)
        self.redraw()

    def _cells(self, job: JobView, state: State) -> tuple[Text, ...]:
        row, spec, run = job.row, self.drawing.specs.get(job.key, {}), state.runs.get(job.key)
        name = str(spec.get("prompt") or prompts_in_words(spec.get("prompts")) or row.job)
        seed = f" · seed {spec['seed']}" if "seed" in spec else ""
        where = f"{job.key.host}: " if job.key.host != LOCAL else ""
        mark = "▸ " if job.key == self.drawing.watched else ""
        counted = f"{far} · " if (far := how_far(job, run)) else ""
        return (
            Text(f"{JOB_GLYPHS.get(row.state, ' ')} {row.state}"),
            Text(f"{mark}{counted}{where}{name}{seed}"),
        )

    def _show_result(self, state: State, now_t: float) -> None:
        box = self.query_one("#result-box", Pane)
        if (launch := self.cockpit.launches.in_sight) is not None and launch.job is None:
            box.entitle(f"{launch.verb} on {launch.host}", launch.phase.value)
            self.result.say(before_a_job(launch))
            return
        job = self.drawing.watched_job
        run = state.runs.get(job.key) if job is not None else None
        sample = run.samples[-1] if run is not None and run.samples else None
        if job is None:
            box.entitle("preview")
        elif not job.row.has_ended:
            doing = how_far(job, run) or job.row.state
            box.entitle(f"drawing · {doing}" if job.row.state == "running" else doing, stage_of(run))
            if self.result.film is None:
                self.result.say(before_a_frame(job, run, now_t, self.waiting.words(job)))
        elif sample is not None and sample.video:
            box.entitle(f"✓ {Path(sample.video).name}")
            self._show_video(job.key, sample)
        else:
            box.entitle(f"{JOB_GLYPHS.get(job.row.state, ' ')} {job.row.state}")
            if job.row.reason and job.row.state != "succeeded":
                self.result.say(f"{job.row.reason}\n{f'→ {job.row.hint}' if job.row.hint else ''}".strip())

    def _show_video(self, job: JobKey, sample: Sample) -> None:
        """The result itself, which is brought here first when it is elsewhere."""
        is_elsewhere = job.host != LOCAL and not (self.services and self.services.folder_of(job.host))
        relative = in_workspace(sample.video)
        path = self.cockpit.files.file_of(job.host, relative if is_elsewhere else sample.video)
        if path is not None:
            is_new = path != self.result.path
            self.result.show(path, plays=self.cockpit.settings.animation if is_new else self.result.is_playing)
        elif is_elsewhere and job not in self._fetched and self.services is not None:
            self._fetched.add(job)
            self.pull([relative, in_workspace(sample.beside) or names_beside(relative)[0]], job.host)

    # Reading

    def watch_job(self, job: JobKey) -> None:
        """Show this job's video from now on, and listen to it."""
        self.drawing.watch(job)
        self.redraw()

    @on(RoomReckoned)
    def _take_verdict(self, message: RoomReckoned) -> None:
        self.waiting.take(message)

    @on(SpecsRead)
    def _take_specs(self, message: SpecsRead) -> None:
        self.drawing.specs.update(message.specs)
        self.redraw()

    @on(Drawn)
    def _show_drawn(self, message: Drawn) -> None:
        """Another job's, or that of one that has ended, is left out."""
        job = self.drawing.watched_job
        if job is not None and job.key == message.job and not job.row.has_ended:
            self.result.show_film(message.film)

    @work(thread=True, exclusive=True, group="prompts", exit_on_error=False)
    def _read_prompts(self) -> None:
        self.post_message(self.PromptsRead(read_prompts(self.cockpit.workspace)))

    def on_sampling_screen_prompts_read(self, message: PromptsRead) -> None:
        """Give the earlier prompts to the entry."""
        self.prompt.remember(message.prompts)

    # Asking

    def checkpoint_for(self, path: str, host: str) -> str:
        """Return how the checkpoint of another video is asked for there; where it is not: what is, with a word."""
        asked_for = checkpoint_asked(path)
        is_known = host == LOCAL or self.known_there().is_read
        if not is_known or self.has_checkpoint(host, asked_for):
            return asked_for
        has_any = host != LOCAL or any(self.cockpit.workspace.checkpoints.glob(f"*/{MANIFEST}"))
        name = shown_name(asked_for.removeprefix("checkpoints/"))
        instead = "the latest one there" if has_any else "the shipped model"
        self.notify(f"{name} is not on {host}: {instead} is used instead", timeout=6, markup=False)
        return "" if has_any else SHIPPED_NAME

    def start(self, values: Mapping[str, Any], sends: Path | None = None, verb: str = "") -> None:
        """Start the work on the form's host, and remember the prompt.

        sends: a video of here that goes there first; verb: default: the screen's; what reads `prompts` has no `prompt`
        """
        if not self.cockpit.guard.may_change():
            return
        prompt = str(values["prompt"])
        try:
            self.prompt.remember(remember_prompt(self.cockpit.workspace, prompt))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
        host = self.chosen_host
        self._warn_of_training(str(values.get("checkpoint", "")), host)
        self.waiting.forget()
        asked = {name: value for name, value in values.items() if name != "prompt" or "prompts" not in values}
        self.post_message(StartWork(verb or self.VERB, {**asked, "preview": True}, host, sends))

    def has_started(self, job: JobKey) -> None:
        """Watch it; what waited for the same elsewhere is ended."""
        self.waiting.has_started(job)
        self.watch_job(job)

    def _warn_of_training(self, checkpoint: str, host: str) -> None:
        """Who waits for a training may find that it has removed the checkpoint that was chosen."""
        jobs = self.cockpit.state.jobs.values()
        trains = any(job.key.host == host and job.row.verb == "train" and not job.row.has_ended for job in jobs)
        if trains and checkpoint.startswith("checkpoints/"):
            name = shown_name(checkpoint.removeprefix("checkpoints/"))
            text = (
                f"the training on {host} keeps only its newest and best: {name} may be gone by the time this job starts"
            )
            self.notify(f"{text}; ‹ latest › always exists", timeout=8, severity="warning", markup=False)

    def asked(self) -> dict[str, Any] | None:
        """Return prompt and settings; None, and a word why, when something is wrong."""
        prompt = self.prompt.value.strip()
        if not prompt:
            self.post_message(Failed("there is no prompt yet", "describe the video in a sentence"))
            self.prompt.focus()
            return None
        for name in self.form.names:
            if wrong := self.form.wrong(name):
                self.post_message(Failed(wrong, self.form.fields[name].description or ""))
                self.form.query_one(f"#in-{name}").focus()
                return None
        values = self.form.values
        left_out = NOT_FOR_OPEN if "model" in values else ()
        return {"prompt": prompt, **{name: value for name, value in values.items() if name not in left_out}}

    def action_start(self) -> None:
        """Start what the form asks for, unless something in it is wrong."""
        if (values := self.asked()) is not None:
            self.start(values)

    def action_stop(self) -> None:
        """Leave what is being started here; else stop the watched job, which the app asks about first."""
        launch = self.cockpit.launches.in_sight
        if launch is not None and launch.job is None and launch.phase not in OVER:
            self.cockpit.launches.leave()
            return
        job = self.drawing.watched_job
        if job is not None and not job.row.has_ended:
            self.post_message(StopWork(job.key))
        else:
            self.notify("no video is being made: there is nothing to stop", timeout=3)

    def action_beside(self) -> None:
        """Let the watched job wait no longer; ask first where memory may not allow it."""
        self.waiting.run_beside()

    def action_here(self) -> None:
        """Start on this machine what waits on a host, and end it there once it has begun here."""
        self.waiting.run_here()

    def action_play(self) -> None:
        """Play what was drawn, or pause it."""
        self.result.action_play()

    def action_leave(self) -> None:
        """Go out of an entry, to the queue or what asks for a key; from there out of its filter, then a level up."""
        if self.listed.holds_focus and self.listed.leave():
            return
        if isinstance(self.focused, Input | Choice):
            if self.cockpit.launches.in_sight is not None:
                self.query_one(LaunchDrawer).take_focus()
            else:
                self.queue.focus()
        else:
            self.run_worker(self.app.run_action("back"), exclusive=True)

    def action_filter(self) -> None:
        """Ask for the words that jobs of the queue must have."""
        self.listed.action_filter()

    @on(Narrowed.Changed)
    def _other_words(self) -> None:
        self.redraw()

    def action_write(self) -> None:
        """Put the focus on the prompt."""
        self.prompt.focus()

    @on(RowList.Selected, "#queue")
    def _choose_job(self) -> None:
        if (chosen := self.queue.chosen) is not None:
            host, _, job = chosen.partition("\t")
            if (launch := self.cockpit.launches.in_sight) is not None and launch.phase in OVER:
                self.cockpit.launches.leave()
            self.result.show(None)
            self.watch_job(JobKey(host, job))

    @on(SpecForm.Explained)
    def _explain(self, message: SpecForm.Explained) -> None:
        about = self.query_one("#about", Words)
        about.say(message.text)
        about.set_class(message.is_wrong, "-wrong")

    @on(Input.Submitted, "#prompt")
    def _enter(self, message: Input.Submitted) -> None:
        message.stop()
        self.action_start()
