"""Training: the runs there are, the steps of a start, the curve, the machine, the last sample, the log."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from t2v_core.events import DoneEvent, StepEvent
from t2v_core.events.results import Trained
from t2v_core.format import counted, grouped
from t2v_tui.keys import Key, bindings_for
from t2v_tui.messages import EventReceived, FollowJob, ShowJob, StopWork
from t2v_tui.screens.bases.base import Cockpit
from t2v_tui.store.events import News
from t2v_tui.store.state import JobKey, JobView, RunView, Sample, State
from t2v_tui.text.dependency import at_work_for
from t2v_tui.text.empty_curve import before_curve, title_of, why_it_ended
from t2v_tui.text.headline import Piece, Tone
from t2v_tui.text.job_words import JOB_GLYPHS, alarm_in_words
from t2v_tui.text.unreachable import not_heard_of
from t2v_tui.widgets import gauges, transfers
from t2v_tui.widgets.chrome import Block, Line, content_of
from t2v_tui.widgets.curve.curve import Curve
from t2v_tui.widgets.curve.track import Run
from t2v_tui.widgets.gauges import Gauges
from t2v_tui.widgets.launch_panel import LaunchKeys, LaunchPanel
from t2v_tui.widgets.lists import ListTable
from t2v_tui.widgets.log.view import LogView
from t2v_tui.widgets.pane import Pane
from t2v_tui.widgets.rows import RowList
from t2v_tui.widgets.transfers import Transfers
from t2v_tui.widgets.video.film_strip import FilmStrip
from t2v_tui.widgets.video.last_sample import LastSample
from t2v_tui.widgets.video.sheet import Card, Sheet
from t2v_tui.workers.sample_sync import SamplesHome, in_workspace

MOST_OVERLAID = 4
NO_SAMPLES = "Samples are made at each checkpoint, and play here."


class RunsList(ListTable):
    """The trainings of every host, newest first."""

    PANE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("runs")]

    def action_overlay(self) -> None:
        """Lay the run with the cursor over the one that is shown, or take it away again."""
        if (chosen := self.chosen) is None:
            self.notify("there is no run to overlay; t starts one", timeout=3)
        elif isinstance(self.screen, TrainScreen):
            self.screen.overlay(key_of_row(chosen))


class TrainScreen(LaunchKeys, Cockpit):
    NAME = "train"
    HAS_DRAWER = False
    CSS_PATH = "train.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_for("train", "launch")]

    def __init__(self) -> None:
        super().__init__()
        self.overlaid: list[JobKey] = []
        self._log_shown: Path | None = None
        self._followed: set[JobKey] = set()
        self._samples_home: SamplesHome | None = None
        self._drawn: list[tuple[str, int, int, int]] = []
        self._looked_at: tuple[JobKey, str] | None = None  # a sample that was chosen among those over time

    def body(self) -> ComposeResult:
        """Lay out runs, curve and sample over samples over time, gauges and transfers, with the log below."""
        settings = self.cockpit.settings
        yield Line(id="folded")
        with Horizontal(id="top"):
            runs = RunsList((("", None),), id="runs", has_heads=False)
            runs.border_title = "runs"
            runs.add_class("pane")
            yield runs
            with Pane(id="main"):
                yield Block(id="no-runs", classes="empty")
                yield Curve()
                yield LaunchPanel()
            yield LastSample(letters=settings.ascii, plays=settings.animation)
        with Horizontal(id="middle"):
            with Pane(id="over-time"):
                yield Static(NO_SAMPLES, id="no-samples", classes="empty", markup=False)
                yield FilmStrip(letters=settings.ascii)
            with Vertical(id="machine"):
                yield Gauges(id="gauges", classes="pane")
                yield Transfers(id="transfers", classes="pane")
        yield LogView(empty="The log of the run that is shown appears here. It can be read with its host off.")

    def on_mount(self) -> None:
        """Put the focus on the list of runs."""
        self.query_one(RunsList).focus()

    # Drawing

    def show(self, state: State, now_t: float) -> None:
        """Draw every pane; the steps of a start, or words, take the curve's place while there is need."""
        self._show_runs(state)
        self._show_curve(state, now_t)
        launch = state.launch is not None
        self.set_class(launch, "-launching")
        self.query_one(LaunchPanel).display = launch
        nothing = before_curve(state, now_t)
        self.query_one(Curve).display = not launch and not nothing
        self.query_one("#no-runs").display = not launch and bool(nothing)
        self.query_one("#no-runs", Block).show(Content(nothing))
        self.query_one(LaunchPanel).show(state, now_t)
        self.query_one(Transfers).show(state.transfers)
        self.show_machine(state, now_t)
        self._show_sample(state)
        self._show_log(state)

    def show_machine(self, state: State, now_t: float) -> None:
        """Draw how the machine does, as bars or in the one line for which there is room."""
        self.query_one(Gauges).show_host(state.chosen, now_t)
        self._show_folded(state, now_t)

    def _show_runs(self, state: State) -> None:
        jobs = sorted(trainings(state), key=lambda job: job.row.began_t, reverse=True)
        self.query_one(RunsList).show_items(
            {row_of_key(job.key): job for job in jobs}, lambda job: (self._row(job, state),)
        )

    def _row(self, job: JobView, state: State) -> Text:
        """`● 0319-3f2a  24 %   7:12`, with a mark before the one that is shown."""
        run = state.runs.get(job.key)
        mark = "▶" if job.key == state.shown else "+" if job.key in self.overlaid else " "
        day, _, tag = job.key.job.partition("-train-")
        name = f"{day[4:6]}{day[6:8]}-{day[9:13]} {tag}"
        return Text(f"{mark}{JOB_GLYPHS.get(job.row.word, ' ')} {name:<14} {_how_far(job, run):>9}", no_wrap=True)

    def _show_curve(self, state: State, now_t: float) -> None:
        keys = [key for key in [state.shown, *self.overlaid] if key is not None]
        runs = [run_of(key, state.runs[key]) for key in dict.fromkeys(keys) if key in state.runs]
        drawn = [(run.name, len(run.steps), len(run.held_out), len(run.samples)) for run in runs]
        if drawn != self._drawn:
            self._drawn = drawn
            self.query_one(Curve).show(runs[:MOST_OVERLAID])
        pane = self.query_one("#main", Pane)
        title = "start" if state.launch else title_of(state, pane.size.width - 2)
        link_why = state.shown_run.link_why if state.shown_run else ""
        alarm = alarm_in_words(state.shown_job.row, now_t) if state.shown_job else ""
        subtitle = why_it_ended(state) or alarm or not_heard_of(state, state.shown, now_t, pane.size.width - 2)
        pane.entitle(title, subtitle or (f"◐ not heard: {link_why}" if link_why else None))

    def _show_folded(self, state: State, now_t: float) -> None:
        """What there is no room for as panes, in one line."""
        parts = [gauges.in_one_line(state.chosen, now_t), transfers.in_one_line(state.transfers)]
        self.query_one("#folded", Line).show(content_of([Piece(" " + " · ".join(filter(None, parts)), Tone.DIM)]))

    def _show_sample(self, state: State) -> None:
        pane, run, shown = self.query_one(LastSample), state.shown_run, state.shown
        samples = run.samples if run is not None else ()
        if shown is None or not samples:
            self.set_class(True, "-no-samples")
            self.query_one("#over-time", Pane).entitle("samples")
            pane.show_none()
            return
        self.set_class(False, "-no-samples")
        last = samples[-1]
        is_coming = self._send_for_samples(state, shown, last)
        alike = list({one.video: one for one in samples if one.prompt == last.prompt}.values())
        sample = next((one for one in alike if (shown, one.video) == self._looked_at), last)
        path = None if is_coming and sample is last else self._file_of(shown, sample)
        pane.show_sample(
            shown, sample, path,
            f"{sample.video}\n{'comes here by itself' if is_coming else f'is on {shown.host}; 3 pulls it'}",
            is_last=sample is last,
        )  # fmt: skip
        self.query_one("#over-time", Pane).entitle(f"{counted(len(alike), 'sample')} over time", last.prompt[:60])
        cards = [Card(one.video, f"step {grouped(one.step)}", None) for one in alike]
        self.query_one(FilmStrip).show_strip(cards, sample.video, partial(self._as_it_is, shown))

    def _file_of(self, job: JobKey, sample: Sample) -> Path | None:
        return self.cockpit.files.file_of(job.host, in_workspace(sample.video))

    def _as_it_is(self, job: JobKey, card: Card) -> Card:
        """The card of a sample with its file, which may have come or changed since."""
        path = self.cockpit.files.place_of(job.host, in_workspace(card.key))
        try:
            return replace(card, path=path, changed_t=path.stat().st_mtime)
        except OSError:
            return card

    @on(Sheet.Chosen)
    def _look_at(self, event: Sheet.Chosen) -> None:
        """Play the sample with the cursor; on the last one, follow what comes."""
        event.stop()
        strip, shown = self.query_one(FilmStrip), self.cockpit.state.shown
        is_last = strip.at == len(strip.cards) - 1
        self._looked_at = None if is_last or shown is None or strip.chosen is None else (shown, strip.chosen)
        self._show_sample(self.cockpit.state)

    def _send_for_samples(self, state: State, shown: JobKey, sample: Sample) -> bool:
        """Of a training on another machine; True while the newest is not here yet but will be."""
        services = self.cockpit.services
        if services is None or services.folder_of(shown.host) is not None or state.is_read_only:
            return False
        if self.has_class("-narrow") or not self.cockpit.settings.samples_home:
            return False
        if self._samples_home is None:
            self._samples_home = SamplesHome(services, self._tell)
        self._samples_home.fetch_new(state)
        return self._samples_home.is_coming(state, shown, sample)

    def _tell(self, news: News) -> None:
        self.post_message(EventReceived(news))

    def on_unmount(self) -> None:
        """Stop bringing samples here."""
        if self._samples_home is not None:
            self._samples_home.close()

    def _show_log(self, state: State) -> None:
        if state.shown is None:
            return
        job = at_work_for(state, state.shown)  # while it waits for its data, what makes them has something to say
        if job != state.shown and job not in self._followed:
            self._followed.add(job)
            self.post_message(FollowJob(job))
        path = self.cockpit.files.journal_of(job)
        if path != self._log_shown:
            self._log_shown = path
            waits = "" if job == state.shown else ", which the training waits for"
            self.query_one(LogView).show(path, f"log · {job.job}{waits}")

    def has_started(self, job: JobKey) -> None:
        """Show it, and follow it."""
        self.post_message(ShowJob(job))

    # Keys

    def footer_keys(self) -> list[Key]:
        """Return the keys with start first: it is what this screen is for."""
        keys = super().footer_keys()
        return [key for key in keys if key.id == "start"] + [key for key in keys if key.id != "start"]

    @on(RowList.Selected)
    def _choose(self, event: RowList.Selected) -> None:
        event.stop()
        if (chosen := self.query_one(RunsList).chosen) is not None:
            self.post_message(ShowJob(key_of_row(chosen)))

    def overlay(self, job: JobKey) -> None:
        """Lay a run over the one that is shown, or take it away again."""
        if job in self.overlaid:
            self.overlaid.remove(job)
        elif job == self.cockpit.state.shown:
            self.notify("this run is shown already; move the cursor to another to overlay it", timeout=4)
        elif len(self.overlaid) < MOST_OVERLAID - 1:
            self.overlaid.append(job)
            self.post_message(FollowJob(job))
        else:
            self.notify(f"{MOST_OVERLAID} curves at once; space on one removes it", timeout=4)
        self._draw()

    def action_stop(self) -> None:
        """Stop the shown run, which the app asks about first; say so when none runs."""
        if (job := self.cockpit.requests.shown_at_work()) is not None:
            self.post_message(StopWork(job.key))

    def action_find(self) -> None:
        """Find text in the log below, whatever has the focus."""
        self.query_one(LogView).action_open_find()

    def action_save(self) -> None:
        """Ask the shown run for a checkpoint, which it writes with its next step."""
        self.cockpit.requests.ask_shown("save", "a checkpoint is written with the next step")

    def action_pause(self) -> None:
        """Let the shown run wait, or go on when it is paused."""
        run = self.cockpit.state.shown_run
        is_paused = run is not None and run.stage == "paused"
        self.cockpit.requests.ask_shown("resume" if is_paused else "pause", "it goes on" if is_paused else "it waits")

    def action_zoom_pane(self) -> None:
        """Give the pane with the focus the whole screen, or shrink it again."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused)
        else:
            self.notify("no pane has the focus: press tab", timeout=3)

    def action_settings(self) -> None:
        """Ask for the settings of the next training."""
        self.cockpit.choose_settings("train")


def trainings(state: State) -> list[JobView]:
    """Return the training jobs of every host, in no particular order."""
    return [job for job in state.jobs.values() if job.row.verb == "train"]


def row_of_key(key: JobKey) -> str:
    """Return the row's key of a job: host and job with a tab between."""
    return f"{key.host}\t{key.job}"


def key_of_row(row: str) -> JobKey:
    """Return the job that `row_of_key` made this row's key from."""
    host, _, job = row.partition("\t")
    return JobKey(host, job)


def run_of(key: JobKey, run: RunView) -> Run:
    """Return a run as the curve draws it, named after its job."""
    curve = run.curve
    return Run(key.job, curve.steps, curve.losses, curve.held_out, curve.checkpoints, curve.samples)


def _how_far(job: JobView, run: RunView | None) -> str:
    row = job.row
    event = row.newest
    if not row.has_ended:
        said = (float(event.step), float(event.total or 0)) if isinstance(event, StepEvent) else (0.0, 0.0)
        done, total = (run.done, run.total) if run and run.total else said
        return f"{done / total:.0%}" if total else row.state
    result = Trained.of(event.extra) if isinstance(event, DoneEvent) else None
    loss = run.loss if run and run.loss is not None else result and result.loss
    return f"{loss:.4f}" if loss is not None and row.state == "succeeded" else row.state
