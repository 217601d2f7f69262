"""What Generate and Vid2Vid share: a prompt, settings, a host; the jobs that draw, and what they draw while they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.message import Message
from textual.widgets import DataTable, Input, Static

from t2v_core.errors import EngineError
from t2v_tui.messages import Failed, FollowJob, StartWork, StopWork
from t2v_tui.prompts import read_prompts, remember_prompt
from t2v_tui.screens.holdings_screen import HoldingsScreen
from t2v_tui.state import LOCAL, JobKey, JobView, RunView, State
from t2v_tui.widgets.entries import Choice, PromptInput
from t2v_tui.widgets.film import Film, film_of
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.player import Player
from t2v_tui.widgets.spec_form import SpecForm
from t2v_tui.words import JOB_GLYPHS

if TYPE_CHECKING:
    from t2v_tui.services import Services

LOOK_EVERY_S = 1.0
QUEUE = (("job", 11), ("", None))
MOST_JOBS = 30
SETTINGS = ("steps", "guidance_scale", "seed")
MORE_SETTINGS = ("sampler", "guidance_rescale", "weights", "precision", "device")


class SamplingScreen(HoldingsScreen):
    """VERB: what it starts; SHOWN: the verbs whose jobs it lists"""

    VERB: ClassVar[str]
    SHOWN: ClassVar[tuple[str, ...]]

    class Looked(Message):
        """What a job has drawn so far."""

        def __init__(self, job: JobKey, film: Film) -> None:
            super().__init__()
            self.job, self.film = job, film

    class SpecsRead(Message):
        """What jobs were asked for."""

        def __init__(self, specs: Mapping[JobKey, Mapping[str, Any]]) -> None:
            super().__init__()
            self.specs = dict(specs)

    class PromptsRead(Message):
        def __init__(self, prompts: list[str]) -> None:
            super().__init__()
            self.prompts = prompts

    def __init__(self) -> None:
        super().__init__()
        self.watched: JobKey | None = None
        self._specs: dict[JobKey, Mapping[str, Any]] = {}
        self._followed: set[JobKey] = set()
        self._fetched: set[JobKey] = set()
        self._has_offered = False

    def on_mount(self) -> None:
        self.set_interval(LOOK_EVERY_S, self._look)
        self._read_prompts()

    @property
    def prompt(self) -> PromptInput:
        return self.query_one("#prompt", PromptInput)

    @property
    def form(self) -> SpecForm:
        return self.query_one(SpecForm)

    @property
    def chosen_host(self) -> str:
        return self.query_one("#host", Choice).value

    @property
    def result(self) -> Player:
        """Where what was drawn is shown."""
        return self.query_one("#result", Player)

    @property
    def queue(self) -> ListTable:
        return self.query_one("#queue", ListTable)

    # Drawing

    def show(self, state: State, now_t: float) -> None:  # noqa: ARG002 - what runs is told by the host's own clock
        self.query_one("#host", Choice).offer([(name, name) for name in state.hosts or (LOCAL,)])
        self._offer_checkpoints()
        jobs = self._jobs(state)
        self._follow(jobs)
        self.queue.show_rows([(f"{job.key.host}\t{job.key.job}", self._cells(job, state)) for job in jobs])
        alive = sum(not job.row.has_ended for job in jobs)
        self.query_one("#queue-box").border_title = f"queue · {alive} at work or waiting" if alive else "queue"
        self._show_result(state)

    def _offer_checkpoints(self) -> None:
        """Those that are here; the shipped one first while there is none, as `latest` would only fail."""
        views = sorted(self.here.checkpoints, key=lambda view: -(view.step or 0))
        named = [(view.path, view.name.removeprefix("checkpoint_")) for view in views if view.is_complete]
        entry = self.form.query_one("#in-checkpoint", Choice)
        choices = [("", "latest"), ("embedded", "shipped"), *named]
        if entry.value not in dict(choices):  # it came with a video, and lies elsewhere
            choices.append((entry.value, entry.value.removeprefix("checkpoints/checkpoint_")))
        self.form.offer("checkpoint", choices)
        if self.here.is_read and not self._has_offered:
            self._has_offered = True
            if not named and not entry.value:
                entry.choose("embedded")

    def _jobs(self, state: State) -> list[JobView]:
        jobs = [job for job in state.jobs.values() if job.row.verb in self.SHOWN]
        return sorted(jobs, key=lambda job: (job.row.has_ended, -job.row.began_t))[:MOST_JOBS]

    def _follow(self, jobs: list[JobView]) -> None:
        """Listen to what is at work, and read what each was asked for."""
        for job in jobs:
            if not job.row.has_ended and job.key not in self._followed:
                self._followed.add(job.key)
                self.post_message(FollowJob(job.key))
        unread = [job.key for job in jobs if job.key not in self._specs]
        if unread and self.services is not None:
            self._specs.update({key: {} for key in unread})
            self._read_specs(self.services, unread)
        alive = [job for job in jobs if not job.row.has_ended]
        if self.watched is None and alive:
            self.watched = next((job.key for job in alive if job.row.state == "running"), alive[-1].key)

    def _cells(self, job: JobView, state: State) -> tuple[Text, ...]:
        row, spec, run = job.row, self._specs.get(job.key, {}), state.runs.get(job.key)
        name = str(spec.get("prompt") or row.job)
        seed = f" · seed {spec['seed']}" if "seed" in spec else ""
        where = f"{job.key.host}: " if job.key.host != LOCAL else ""
        mark = "▸ " if job.key == self.watched else ""
        return (
            Text(f"{JOB_GLYPHS.get(row.state, ' ')} {row.state}"),
            Text(f"{mark}{_how_far(job, run)}{where}{name}{seed}"),
        )

    def _show_result(self, state: State) -> None:
        box = self.query_one("#result-box")
        job = state.jobs.get(self.watched) if self.watched is not None else None
        box.border_subtitle = None
        if job is None:
            box.border_title = "preview"
            return
        run = state.runs.get(job.key)
        video = run.samples[-1].video if run is not None and run.samples else ""
        if not job.row.has_ended:
            box.border_title = f"drawing · {_how_far(job, run)}".removesuffix(" · ")
            box.border_subtitle = run.stage or None if run is not None else None
        elif video:
            box.border_title = f"✓ {Path(video).name}"
            self._show_video(job.key, video)
        else:
            box.border_title = f"{JOB_GLYPHS.get(job.row.state, ' ')} {job.row.state}"
            if job.row.reason and job.row.state != "succeeded":
                self.result.say(f"{job.row.reason}\n{job.row.hint}".strip())

    def _show_video(self, job: JobKey, video: str) -> None:
        """The result itself, which is brought here first when it is elsewhere."""
        is_elsewhere = job.host != LOCAL and not (self.services and self.services.folder_of(job.host))
        relative = in_workspace(video)
        path = self.cockpit.file_of(job.host, relative if is_elsewhere else video)
        if path is not None:
            self.result.show(path, plays=path != self.result.path or self.result.is_playing)
        elif is_elsewhere and job not in self._fetched and self.services is not None:
            self._fetched.add(job)
            self.pull([relative, str(PurePosixPath(relative).with_suffix(".json"))], job.host)

    # Reading

    @work(thread=True, exclusive=True, group="prompts", exit_on_error=False)
    def _read_prompts(self) -> None:
        self.post_message(self.PromptsRead(read_prompts(self.cockpit.workspace)))

    def on_sampling_screen_prompts_read(self, message: PromptsRead) -> None:
        self.prompt.remember(message.prompts)

    @work(thread=True, group="specs", exit_on_error=False)
    def _read_specs(self, services: Services, jobs: list[JobKey]) -> None:
        from t2v_tui.holdings_there import read_there  # noqa: PLC0415

        specs: dict[JobKey, Mapping[str, Any]] = {}
        for job in jobs:
            try:
                specs[job] = read_there(services.jobs(job.host), f"jobs/{job.job}/spec.json")
            except EngineError:  # its host is not heard: the job's id has to do
                continue
        self.post_message(self.SpecsRead(specs))

    def on_sampling_screen_specs_read(self, message: SpecsRead) -> None:
        self._specs.update(message.specs)
        self.redraw()

    def _look(self) -> None:
        job = self.cockpit.state.jobs.get(self.watched) if self.watched is not None else None
        if job is not None and job.row.state == "running" and self.services is not None and self.is_current:
            self._read_preview(self.services, job.key)

    @work(thread=True, exclusive=True, group="preview", exit_on_error=False)
    def _read_preview(self, services: Services, job: JobKey) -> None:
        import base64  # noqa: PLC0415

        try:
            said = services.jobs(job.host).ask("read", path=f"jobs/{job.job}/preview")
            film = film_of(base64.b64decode(said["data"]), Path("preview"))
        except EngineError:  # nothing is drawn yet, or the host is not heard, which the headline says
            return
        self.post_message(self.Looked(job, film))

    def on_sampling_screen_looked(self, message: Looked) -> None:
        job = self.cockpit.state.jobs.get(message.job)
        if message.job == self.watched and job is not None and not job.row.has_ended:
            self.result.show_film(message.film)

    # Asking

    def start(self, values: Mapping[str, Any]) -> None:
        """Start the work, remember the prompt, and watch the job."""
        prompt = str(values["prompt"])
        try:
            self.prompt.remember(remember_prompt(self.cockpit.workspace, prompt))
        except EngineError as error:
            self.post_message(Failed(error.message, error.hint))
        self.result.say("it begins: loading the model takes a few seconds")
        self.post_message(StartWork(self.VERB, {**values, "preview": True}, self.chosen_host, then=self.NAME))

    def asked(self) -> dict[str, Any] | None:
        """Prompt and settings; None, and a word why, when something is wrong."""
        prompt = self.prompt.value.strip()
        if not prompt:
            self.post_message(Failed("there is no prompt yet", "say in a sentence what the video shows"))
            self.prompt.focus()
            return None
        for name in self.form.names:
            if wrong := self.form.wrong(name):
                self.post_message(Failed(wrong, self.form.fields[name].description or ""))
                self.form.query_one(f"#in-{name}").focus()
                return None
        return {"prompt": prompt, **self.form.values}

    def action_start(self) -> None:
        if (values := self.asked()) is not None:
            self.start(values)

    def action_stop(self) -> None:
        if self.watched is not None:
            self.post_message(StopWork(self.watched))

    def action_play(self) -> None:
        self.result.action_play()

    def action_leave(self) -> None:
        """Out of an entry, to the queue; from there a level up."""
        if isinstance(self.focused, Input | Choice):
            self.queue.focus()
        else:
            self.run_worker(self.app.run_action("back"), exclusive=True)

    def action_write(self) -> None:
        self.prompt.focus()

    def watch_job(self, job: JobKey) -> None:
        self.watched = job
        self._followed.add(job)
        self.post_message(FollowJob(job))
        self.redraw()

    @on(DataTable.RowSelected, "#queue")
    def _choose_job(self) -> None:
        if (chosen := self.queue.chosen) is not None:
            host, _, job = chosen.partition("\t")
            self.result.show(None)
            self.watch_job(JobKey(host, job))

    @on(SpecForm.Explained)
    def _explain(self, message: SpecForm.Explained) -> None:
        about = self.query_one("#about", Static)
        about.update(message.text)
        about.set_class(message.is_wrong, "-wrong")

    @on(Input.Submitted, "#prompt")
    def _enter(self, message: Input.Submitted) -> None:
        message.stop()
        self.action_start()


def in_workspace(video: str) -> str:
    """Where a video lies in its workspace: jobs name their results in full, and `~` is another folder there."""
    return f"outputs/{video.rpartition('/outputs/')[2]}" if "/outputs/" in video else video


def quiet(table: ListTable) -> ListTable:
    """Without titles, which would say nothing here."""
    table.show_header = False
    return table


def _how_far(job: JobView, run: RunView | None) -> str:
    """`12 of 20 steps · `; nothing for a job that does not count now."""
    if job.row.has_ended or run is None or not run.total:
        return ""
    return f"{run.done:g} of {run.total:g} {run.unit} · "
