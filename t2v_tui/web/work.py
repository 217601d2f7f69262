"""What the page asks of the engine: one job after the other on one host, followed, stopped, and brought here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from remote.errors import AgentError, RemoteError
from remote.hosts.settings import LOCAL
from remote.jobs.client import HostJobs
from remote.jobs.follow import Follower, LinkState
from remote.jobs.spool import Spool
from remote.launch.launch import Launch
from remote.replies.job_row import JobRow
from remote.replies.questions import READ
from remote.steps import Status, StepState
from t2v_core.errors import EngineError
from t2v_core.events import ProgressEvent, StageEvent, WarningEvent
from t2v_core.processes.hand_over import RESIDENT
from t2v_tui.web.png import png_of_preview
from t2v_tui.web.turns import Press, Turns
from t2v_tui.workers.services import Services

LOOK_S = 0.4


@dataclass(frozen=True)
class View:
    """How one press stands.

    state: waiting, working, done, stopped or failed
    words: one line for people
    preview: a PNG of what the video looks like so far
    path: of the video, relative to the workspace
    """

    state: str = "waiting"
    words: str = ""
    done: int = 0
    total: int = 0
    notes: tuple[str, ...] = ()
    preview: bytes = b""
    path: str = ""
    hint: str = ""
    job: str = ""

    @property
    def has_ended(self) -> bool:
        """Return True when nothing more will come of it."""
        return self.state in ("done", "stopped", "failed")


class Work:
    """The engine on one host. Threads may share it.

    idle_s: the resident engine there ends after so long without a job
    """

    def __init__(self, services: Services, host: str, *, idle_s: float) -> None:
        self.services, self.host, self.idle_s = services, host, idle_s
        self.turns = Turns()
        self._resident = ""
        self._release: str | None = None

    @property
    def jobs(self) -> HostJobs:
        """Return the connection to the host. Raises InvalidRequest when t2v.toml does not know it."""
        return self.services.jobs(self.host)

    def do(self, press: Press, verb: str, values: Mapping[str, Any], sends: str = "") -> Iterator[View]:
        """Wait for a turn, do it, and bring what came of it here; the last view has ended, whatever happens.

        values: `output` is the video's path, relative to the workspace
        sends:  a video of the workspace here that the job reads
        """
        view = View()
        try:
            spec = self.services.spec(verb, values)
            with self.turns.place_of(press) as places:
                for before in places:
                    yield replace(view, words=f"waiting: {before} ahead of you")
                if press.cancelled.is_set():
                    yield replace(view, state="stopped", words="cancelled")
                    return
                for now in self._worked(press, verb, spec, view, sends):
                    view = now
                    yield view
                    if view.has_ended:
                        return
                path = str(values["output"])
                yield replace(view, state="working", words=f"bringing it here from {self.host}")
                self._bring(path)
                yield replace(view, state="done", words="done", path=path, preview=b"")
        except EngineError as error:
            yield replace(view, state="failed", words=error.message, hint=error.hint, preview=b"")

    def _worked(self, press: Press, verb: str, spec: Any, view: View, sends: str) -> Iterator[View]:
        for step in self._ready(press):
            if step.status in (Status.DOING, Status.NOTE, Status.DONE):
                yield replace(view, state="working", words=f"{step.name}: {step.detail}")
        if press.cancelled.is_set():
            yield replace(view, state="stopped", words="cancelled")
            return
        if sends and self.host != LOCAL:
            yield replace(view, state="working", words=f"sending the video to {self.host}")
            self._send(sends)
        environment = {RESIDENT: self._resident}
        press.job = self.jobs.submit(verb, spec, env=environment, release=self._release).job
        view = replace(view, job=press.job, state="working", words="the engine starts")
        yield view
        if press.cancelled.is_set():  # pressed while the job was made
            self.cancel(press)
        yield from self._followed(press, view)

    def _ready(self, press: Press) -> Iterator[StepState]:
        """Start the resident engine unless it runs; a host is made ready for it first, a VM that is off started."""
        from t2v_core.specs import ServeSpec  # 0.05 s, and the page is up before

        with suppress(RemoteError):
            if self._resident and not self.jobs.row(self._resident).has_ended:
                return
        launch = Launch(
            self.jobs.host,
            self.jobs.workspace,
            "serve",
            ServeSpec(idle_s=self.idle_s),
            jobs=self.jobs,
            cancelled=press.cancelled,
        )
        yield from launch
        if launch.job is None:
            raise AgentError(f"the engine was not started on {self.host}", "ask again")
        self._resident = launch.job.job
        if self.host != LOCAL and self.jobs.host.is_managed:
            from remote.setup.release import current_release  # only where code was sent

            self._release = current_release().name

    def _followed(self, press: Press, view: View) -> Iterator[View]:
        """The job to its end. A view that has not ended is the last one when the work is done."""
        said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        follower = Follower(self.jobs.host, press.job, Spool.of(self.jobs.workspace, self.host, press.job))
        threading.Thread(target=_pour, args=(follower, said), name=f"follow {press.job}", daemon=True).start()
        try:
            while True:
                with suppress(queue.Empty):
                    one = said.get(timeout=LOOK_S)
                    if isinstance(one, EngineError):
                        raise one
                    if isinstance(one, JobRow):
                        yield from _end_of(one, view)
                        return
                    view = _after(one, view, self.host)
                    if not said.empty():
                        continue
                view = replace(view, preview=self._preview(press.job) or view.preview)
                yield view
        finally:
            follower.close()

    def _preview(self, job: str) -> bytes | None:
        with suppress(RemoteError):  # there is none yet, or the link is lost, which the follower says
            return png_of_preview(self.jobs.ask(READ, path=f"jobs/{job}/preview").data)
        return None

    def cancel(self, press: Press) -> None:
        """End it: at once while it waits, else within a step."""
        press.cancelled.set()
        self.turns.wake()
        if press.job:
            with suppress(RemoteError):  # it has ended meanwhile
                self.jobs.request(press.job, "stop")

    def _send(self, path: str) -> None:
        from remote.transfer.plan.push_plan import PATHS, plan_files
        from remote.transfer.push import Pushing

        plan = plan_files(self.jobs, PATHS, [path], is_replacing=False)
        for _ in Pushing(self.jobs, plan) if plan.needed else ():
            pass

    def _bring(self, path: str) -> None:
        """The video and what is beside it, verified on the way."""
        if self.host == LOCAL:
            return
        from remote.transfer.plan.pull_plan import plan_pull
        from remote.transfer.pull import Pulling

        plan = plan_pull(self.jobs, [path, str(PurePosixPath(path).with_suffix(".json"))])
        for _ in Pulling(self.jobs, plan) if plan.needed else ():
            pass

    def close(self) -> None:
        """End the resident engine, which nobody else uses; a job that it works on ends with it."""
        if self._resident:
            with suppress(EngineError):
                self.jobs.request(self._resident, "stop")


def _pour(follower: Follower, said: queue.SimpleQueue[Any]) -> None:
    try:
        for one in follower:
            said.put(one)
    except EngineError as error:
        said.put(error)


def _after(said: Any, view: View, host: str) -> View:
    match said:
        case LinkState(is_up=False):
            return replace(view, words=f"the link to {host} is lost; looking for it again")
        case ProgressEvent(int(done), int(total), unit):
            return replace(view, words=f"{unit} {done} of {total}", done=done, total=total)
        case StageEvent(name, detail):
            return replace(view, words=f"{name}: {detail}" if detail else name)
        case WarningEvent(message):
            return replace(view, notes=(*view.notes, message))
    return view


def _end_of(row: JobRow, view: View) -> Iterator[View]:
    if row.state == "succeeded":
        yield replace(view, words="done", done=view.total)
    elif row.state == "stopped":
        yield replace(view, state="stopped", words="cancelled", preview=b"")
    else:
        yield replace(view, state="failed", words=row.reason, hint=row.hint, preview=b"")
