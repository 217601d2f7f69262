"""From a press to a job: the steps of starting work on a host, told one by one by a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from remote.errors import NotReady
from remote.steps import Status, StepState
from t2v_core.errors import EngineError
from t2v_core.format import size
from t2v_core.workspace import Dataset, Workspace
from t2v_tui.demo_world import CLIPS, ENCODERS, PICTURES, TEST_CLIPS
from t2v_tui.store.events import LaunchLeft, LaunchSaid, LaunchTurned, News, TransferReceived
from t2v_tui.store.state import JobKey, LaunchPhase, TransferView
from t2v_tui.workers.services import Services
from t2v_tui.workers.streams import Stream, Tell
from t2v_tui.workers.upload_input import SendStream, brought_in

if TYPE_CHECKING:
    from t2v_core.specs import Spec, TrainSpec
    from t2v_tui.workers.providers import Provider, TellStep

TAIL_LINES = 20
INSTALLING = ("venv", "dependencies")
# The built-in world is made on the way when training asks for it and it is not there; anything else is the user's.
WORLD = "shapes"


@dataclass(frozen=True)
class Wanted:
    """What is to be started, and where.

    values: settings that were chosen, over those of t2v.toml
    screen: where it was asked for, and is shown
    sends:  a video of this machine that goes to the host first, and is the job's input
    """

    verb: str
    host: str
    values: Mapping[str, Any]
    screen: str = "train"
    sends: Path | None = None


class Launch(Stream):
    """Brings one job to a host. Cancelled, it starts nothing more, and ends what it has started."""

    def __init__(self, wanted: Wanted, services: Services, tell: Tell) -> None:
        super().__init__(f"launch on {wanted.host}", tell)
        self.wanted, self.services = wanted, services
        self.made: list[JobKey] = []
        self._doing = "launch"
        self._sending: SendStream | None = None

    def run(self) -> None:
        """Take the steps and tell each; when it is closed meanwhile, end the jobs that were made."""
        try:
            for step in self._steps():
                if isinstance(step, JobKey):
                    self.made.append(step)
                else:
                    self._say(step)
                if self.is_closed:
                    break
        except EngineError as error:
            if not self.is_closed:
                self._failed(error)
                return
        if self.is_closed:
            self._undo()
        elif self.made:
            self.tell(LaunchTurned(LaunchPhase.WORKING, self.made[-1]))

    def _steps(self) -> Iterator[StepState | JobKey]:
        """Yield those to the job, and just before it that of the video that it reads."""
        wanted, path, values = self.wanted, "", dict(self.wanted.values)
        if wanted.sends is not None:
            values["input"] = path = brought_in(self.services.workspace, wanted.sends)
        spec = self.services.spec(wanted.verb, values)
        for step in steps_to_job(self.services, wanted.host, wanted.verb, spec, self._say, self._closed):
            if path and isinstance(step, StepState) and (step.name, step.status) == ("launch", Status.DOING):
                yield from self._sent(path)
            yield step

    def _sent(self, path: str) -> Iterator[StepState]:
        """Send a video of the workspace here to the one there. Raises NotSent."""
        name = Path(path).name
        coming = f"{name} goes to {self.wanted.host} first"

        def tell(news: News) -> None:
            self.tell(news)
            if isinstance(news, TransferReceived):
                self._say(StepState("video", Status.DOING, f"{coming}{how_far(news.transfer)}"))

        self._sending = SendStream(self.services, self.wanted.host, path, tell)
        if self.is_closed:
            self._sending.close()
        self._sending.run()
        view = self._sending.view
        if view.state == "failed":
            raise NotSent(f"{name} did not reach {self.wanted.host}", view.why)
        yield StepState("video", Status.DONE, view.why or name)

    def close(self) -> None:
        """End it, and the video that is on its way."""
        super().close()
        if self._sending is not None:
            self._sending.close()

    def _say(self, step: StepState) -> None:
        if not self.is_closed:
            self._doing = step.name
            self.tell(LaunchSaid(step))

    def _failed(self, error: EngineError) -> None:
        self.tell(LaunchSaid(StepState(self._doing, Status.FAILED, error.message, error.hint)))
        self.tell(LaunchTurned(LaunchPhase.FAILED, tail=self._tail()))

    def _tail(self) -> tuple[str, ...]:
        """The end of the log of what installed there, when it was that."""
        found = [job.key for job in self.services.remembered() if job.row.verb == "bootstrap"]
        there = sorted(key for key in found if key.host == self.wanted.host)
        is_install = self._doing in INSTALLING and there
        return self.services.tail_of(there[-1], TAIL_LINES) if is_install else ()

    def _undo(self) -> None:
        """Jobs that began while somebody said no, or just before, those that wait first."""
        for job in reversed(self.made):
            try:
                self.services.stop(job, grace_s=0.0)
            except EngineError as error:
                self.tell(LaunchSaid(StepState("launch", Status.FAILED, error.message, error.hint)))

    def take_back(self) -> None:
        """End what this has begun, whether its thread still runs or not; the thread that asks waits for nothing."""
        was_over = not self.is_alive()
        self.close()
        if was_over and self.made:
            threading.Thread(target=self._undo, name="take back", daemon=True).start()
        threading.Thread(target=self._tell_of_vm, name="left", daemon=True).start()

    def _tell_of_vm(self) -> None:
        """One that was asked to start, or runs, costs money whoever left."""
        try:
            said = self.services.left_vm(self.wanted.host)
        except EngineError as error:
            said = StepState("VM", Status.NOTE, f"{self.wanted.host} may run: {error.message}", error.hint)
        if said is not None:
            self.tell(LaunchLeft(self.wanted.host, said))


class NotSent(EngineError):
    """The video that a job is to read is not on its host."""


def how_far(view: TransferView) -> str:
    """Return `: 40 % of 12 MB`, and what it waits for; nothing before it moves."""
    share = f": {view.done_bytes / view.total_bytes:.0%} of {size(view.total_bytes)}" if view.total_bytes else ""
    return f"{share}; {view.why}" if view.why else share


def steps_to_job(
    services: Services, name: str, verb: str, spec: Spec, tell: TellStep, cancelled: threading.Event
) -> Iterator[StepState | JobKey]:
    """Yield the steps from here to a job on that host, and the job.

    tell: hears what happens within a step; cancelled: set when nobody wants it any more
    """
    folder = services.folder_of(name)
    if folder is None:
        yield from steps_there(services, name, verb, spec, cancelled)
        return
    if (provider := services.provider(name)) is not None:
        yield from vm_up(provider, tell, cancelled)
        if cancelled.is_set():
            return
    yield from steps_here(services, name, verb, spec, folder)


def vm_up(provider: Provider, tell: TellStep, cancelled: threading.Event) -> Iterator[StepState]:
    """Start a machine that is off, and yield how that goes."""
    yield StepState("VM", Status.DOING, "asking the provider")
    before = provider.look().vm.power
    provider.start(tell, cancelled)
    now = provider.look().vm
    yield StepState("VM", Status.OK if before is now.power else Status.DONE, f"{now.power.value} {now.machine}")


def steps_here(services: Services, name: str, verb: str, spec: Spec, root: Path) -> Iterator[StepState | JobKey]:
    """Yield the steps on a host whose files are files of this machine: data, disk, launch."""
    after = None
    if verb == "train":
        yield StepState("checkpoints", Status.DOING)
        require_free(spec, Workspace(root))
        yield StepState("checkpoints", Status.OK, str(of_training(spec).checkpoints))
        for step in _data(services, name, spec, Workspace(root)):
            after = step.job if isinstance(step, JobKey) else after
            yield step
    yield StepState("disk", Status.OK, f"{size(_free(root))} free")
    yield StepState("launch", Status.DOING)
    made = services.submit(name, verb, spec, after=after)
    yield StepState("launch", Status.DONE, made.job)
    yield JobKey(name, made.job)


def _data(services: Services, name: str, spec: Spec, there: Workspace) -> Iterator[StepState | JobKey]:
    from t2v_core.disk.files import incompleteness

    data = of_training(spec).data
    dataset = Dataset(there.resolve(data))
    yield StepState("data", Status.DOING, str(data))
    why = incompleteness(dataset.latents / "train")
    if why is None:
        yield StepState("data", Status.OK, str(data))
        return
    if data.name != WORLD:
        raise DataMissing(f"{data} is not preprocessed: {why}", "6 shows the data set and preprocesses it")
    yield from _world_made(services, name, data)
    yield StepState("data", Status.DONE, "the built-in world is made first; training waits for it")


def of_training(spec: Spec) -> TrainSpec:
    """Return a training's spec as what it is."""
    return cast("TrainSpec", spec)


class HoldsARun(EngineError):
    """The folder of checkpoints is another training's."""

    exit_code = 2


def require_free(spec: Spec, there: Workspace) -> None:
    """Raise HoldsARun when the checkpoints' folder is another run's; the engine refuses as well, seconds later."""
    folder = there.resolve(of_training(spec).checkpoints)
    folders = (path for path in folder.glob("checkpoint_epoch_*") if path.is_dir())  # the old system's are files
    held = sorted(folders, key=lambda path: path.stat().st_mtime)
    if held and not of_training(spec).resume:
        raise HoldsARun(
            f"{there.relative(folder)} holds a run already, up to {held[-1].name}",
            "u continues it; n begins another one in a folder of its own",
        )


class DataMissing(EngineError):
    """There is nothing to train on."""

    exit_code = 2


def world_of(data: Path) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return the jobs that make the built-in world, as `t2v demo` makes it."""
    where = {"data": str(data)}
    return (
        ("shapes", {**where, "clips": CLIPS, "test_clips": TEST_CLIPS}),
        ("preprocess", {**where, **ENCODERS, **PICTURES}),
    )


def _free(root: Path) -> int:
    import shutil

    return shutil.disk_usage(root if root.exists() else root.parent).free


def steps_there(
    services: Services, name: str, verb: str, spec: Spec, cancelled: threading.Event
) -> Iterator[StepState | JobKey]:
    """Yield remote's own steps on another machine; the built-in world is made there when it is what is missing."""
    from remote.launch.launch import Launch as Steps

    jobs = services.jobs(name)
    data = Path(str(getattr(spec, "data", "")))
    steps = Steps(jobs.host, services.workspace, verb, spec, jobs=jobs, cancelled=cancelled)
    try:
        yield from steps
    except NotReady:
        if verb != "train" or data.name != WORLD or jobs.host.is_managed:
            raise
        yield StepState("data", Status.DOING, "the built-in world is made first")
        made = list(_world_made(services, name, data))
        yield from made
        steps = Steps(jobs.host, services.workspace, verb, spec, jobs=jobs, after=made[-1].job, cancelled=cancelled)
        yield from steps
    if steps.job is not None:
        yield JobKey(name, steps.job.job)


def _world_made(services: Services, name: str, data: Path) -> Iterator[JobKey]:
    """The jobs that make the built-in world, each after the one before."""
    after = None
    for verb, values in world_of(data):
        after = services.submit(name, verb, services.spec(verb, values), after=after).job
        yield JobKey(name, after)
