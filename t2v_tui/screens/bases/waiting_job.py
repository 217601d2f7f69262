"""A job that waits for its turn: until when, and the two ways not to wait: beside what runs there, or here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.message import Message
from textual.widgets import Input

from t2v_core.errors import EngineError
from t2v_tui.messages import Failed, StartWork
from t2v_tui.screens.panels.dialogs import Confirm
from t2v_tui.store.state import LOCAL, JobKey, JobView
from t2v_tui.text.confirmations import Question
from t2v_tui.text.waiting import Beside, ahead_of, beside, free_of, waits_in_words
from t2v_tui.widgets.entries import Choice

if TYPE_CHECKING:
    from t2v_tui.screens.bases.sampling_screen import SamplingScreen
    from t2v_tui.workers.services import Services


class RoomReckoned(Message):
    """Whether a job may run beside what it waits for."""

    def __init__(self, job: JobKey, verdict: Beside) -> None:
        super().__init__()
        self.job, self.verdict = job, verdict


class WaitingJob:
    """The watched job of one screen, while it waits; that screen takes RoomReckoned.

    verdicts: of jobs that somebody wanted beside another; None while it is reckoned
    """

    def __init__(self, screen: SamplingScreen) -> None:
        self._screen = screen
        self._instead_of: JobKey | None = None  # what waits on a host until the same has begun here
        self.verdicts: dict[JobKey, Beside | None] = {}

    def has_started(self, job: JobKey) -> None:
        """End what waited elsewhere for the same, now that it was started here."""
        if self._instead_of is not None and job.host == LOCAL:
            self._screen.cockpit.requests.replace(self._instead_of)
        self.forget()

    def forget(self) -> None:
        """Let it wait: something else is started."""
        self._instead_of = None

    def words(self, job: JobView) -> str:
        """Return until when a job waits, and the two ways not to; nothing for one that does not."""
        if job.row.state != "queued":
            return ""
        screen = self._screen
        state = screen.cockpit.state
        for one in ahead_of(job, state)[:1]:
            screen.drawing.follow([one])  # its pace tells when
        if not (words := waits_in_words(job, state, screen.cockpit.now())):
            return ""
        lines = [words]
        if job.row.needs_gpu and not state.is_read_only:
            lines += ["", f"b   runs it beside that: {self._about_room(job.key)}"]
            lines += ["H   runs it on this machine"] if job.key.host != LOCAL else []
            lines += ["(esc first, out of an entry)"] if isinstance(screen.focused, Input | Choice) else []
        return "\n".join(lines)

    def _about_room(self, job: JobKey) -> str:
        if job not in self.verdicts:
            return "if the memory is enough, which is reckoned first"
        verdict = self.verdicts[job]
        return verdict.words if verdict is not None else "whether the memory is enough is being reckoned"

    def _waiting(self) -> JobView | None:
        """The watched job while it waits for its turn, else None and a word."""
        job = self._screen.drawing.watched_job
        if job is not None and job.row.state == "queued":
            return job
        self._screen.notify("no video waits for its turn", timeout=3)
        return None

    def run_beside(self) -> None:
        """Let the watched job wait no longer where the estimate says that the memory is enough; ask first else."""
        job, services = self._waiting(), self._screen.services
        if job is None or services is None or (job.key in self.verdicts and self.verdicts[job.key] is None):
            return
        self.verdicts[job.key] = None
        self._screen.run_worker(
            partial(self._reckon, services, job.key), group="reckon", thread=True, exit_on_error=False
        )
        self._screen.redraw()

    def _reckon(self, services: Services, job: JobKey) -> None:
        from remote.launch.beside import reckon  # whoever runs nothing beside another needs none

        try:
            found = reckon(services.jobs(job.host), job.job)
            verdict = beside(free_of(found.machine), found.least, found.why)
        except EngineError as error:
            verdict = Beside(None, f"what it takes is not known: {error.message}")
        self._screen.post_message(RoomReckoned(job, verdict))

    def take(self, message: RoomReckoned) -> None:
        """Go on with what was wanted, if the job still waits."""
        self.verdicts[message.job] = message.verdict
        job = self._screen.cockpit.state.jobs.get(message.job)
        if job is not None and job.row.state == "queued":
            self._decide(job.key, message.verdict)
        self._screen.redraw()

    def _decide(self, job: JobKey, verdict: Beside) -> None:
        said = "it begins beside what runs there"
        if verdict.fits:
            self._screen.cockpit.requests.ask(job, "beside", f"{said}: {verdict.words}")
            return

        def answered(is_meant: bool | None) -> None:
            if is_meant:
                self._screen.cockpit.requests.ask(job, "beside", said)

        lines = (verdict.words[0].upper() + verdict.words[1:] + ".", "Without enough memory either of them may fail;",
                 "the training's last checkpoint stays whatever happens.")  # fmt: skip
        question = Question(f"Run it beside what runs on {job.host}?", lines, "Run it", "y")
        self._screen.app.push_screen(Confirm(question), answered)

    def run_here(self) -> None:
        """Start on this machine what waits on a host, and end it there once it has begun here."""
        job = self._waiting()
        if job is None:
            return
        spec = dict(self._screen.drawing.specs.get(job.key, {}))
        if job.key.host == LOCAL:
            self._screen.notify("it waits on this machine already: b runs it beside", timeout=4)
        elif not spec:
            self._screen.post_message(
                Failed("what was asked for is not known yet", "it is read as soon as its host answers")
            )
        elif missing := self._missing_here(spec):
            self._screen.post_message(Failed(f"{missing} is not on this machine", "p on screen 2 or 3 brings it here"))
        else:
            self._instead_of = job.key
            values = {name: value for name, value in spec.items() if name not in ("device", "preview")}
            self._screen.post_message(StartWork(job.row.verb, {**values, "preview": True}, LOCAL))

    def _missing_here(self, spec: Mapping[str, Any]) -> str:
        """What it reads and this machine has not; empty when it has all."""
        checkpoint, video = str(spec.get("checkpoint") or ""), str(spec.get("input") or "")
        if not spec.get("model") and not self._screen.has_checkpoint(LOCAL, checkpoint):
            return checkpoint
        return "" if not video or (self._screen.cockpit.workspace.root / video).is_file() else video
