"""From a press to the first loss: the steps of starting work on a host, told one by one by a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.errors import NotReady
from remote.steps import Status, StepState
from t2v_core.errors import EngineError
from t2v_core.workspace import Dataset, Workspace
from t2v_tui.news import LaunchLeft, LaunchSaid, LaunchTurned
from t2v_tui.services import Services
from t2v_tui.state import JobKey, LaunchPhase
from t2v_tui.streams import Stream, Tell
from t2v_tui.words import gb

if TYPE_CHECKING:
    from t2v_core.specs import Spec
    from t2v_tui.providers import Provider, TellStep

TAIL_LINES = 20
INSTALLING = ("venv", "dependencies")
# The built-in world is made on the way when training asks for it and it is not there; anything else is the user's.
WORLD = "shapes"


@dataclass(frozen=True)
class Wanted:
    """What is to be started, and where. values: settings that were chosen, over those of t2v.toml"""

    verb: str
    host: str
    values: Mapping[str, Any]


class Launch(Stream):
    """Brings one job to a host. Cancelled, it starts nothing more, and ends what it has started."""

    def __init__(self, wanted: Wanted, services: Services, tell: Tell) -> None:
        super().__init__(f"launch on {wanted.host}", tell)
        self.wanted, self.services = wanted, services
        self.made: list[JobKey] = []
        self._doing = "launch"

    def run(self) -> None:
        try:
            spec = self.services.spec(self.wanted.verb, self.wanted.values)
            for step in self.services.launch(self.wanted.host, self.wanted.verb, spec, self._say, self._closed):
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


def vm_up(provider: Provider, tell: TellStep, left: threading.Event) -> Iterator[StepState]:
    """A machine that is off is started first."""
    yield StepState("VM", Status.DOING, "asking the provider")
    before = provider.look().vm.power
    provider.start(tell, left)
    now = provider.look().vm
    yield StepState("VM", Status.OK if before is now.power else Status.DONE, f"{now.power.value} {now.machine}")


def steps_here(services: Services, name: str, verb: str, spec: Spec, root: Path) -> Iterator[StepState | JobKey]:
    """On a host whose files are files of this machine: data, disk, launch."""
    after = None
    if verb == "train":
        yield StepState("checkpoints", Status.DOING)
        require_free(spec, Workspace(root))
        yield StepState("checkpoints", Status.OK, str(getattr(spec, "checkpoints")))  # noqa: B009
        for step in _data(services, name, spec, Workspace(root)):
            after = step.job if isinstance(step, JobKey) else after
            yield step
    yield StepState("disk", Status.OK, f"{gb(_free(root))} free")
    yield StepState("launch", Status.DOING)
    made = services.submit(name, verb, spec, after=after)
    yield StepState("launch", Status.DONE, made.job)
    yield JobKey(name, made.job)


def _data(services: Services, name: str, spec: Spec, there: Workspace) -> Iterator[StepState | JobKey]:
    from t2v_core.files import incompleteness  # noqa: PLC0415

    data = Path(str(getattr(spec, "data")))  # noqa: B009 - a training's spec has it
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


class HoldsARun(EngineError):
    """The folder of checkpoints is another training's."""

    exit_code = 2


def require_free(spec: Spec, there: Workspace) -> None:
    """The engine refuses as well, seconds later. Raises HoldsARun."""
    folder = there.resolve(Path(str(getattr(spec, "checkpoints"))))  # noqa: B009 - a training's spec has it
    held = sorted(folder.glob("checkpoint_epoch_*"), key=lambda path: path.stat().st_mtime)
    if held and not getattr(spec, "resume", False):
        raise HoldsARun(
            f"{there.relative(folder)} holds a run already, up to {held[-1].name}",
            "u goes on with it; n begins another one in a folder of its own",
        )


class DataMissing(EngineError):
    """There is nothing to train on."""

    exit_code = 2


def world_of(data: Path) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The jobs that make the built-in world, as `t2v demo` makes it."""
    from t2v_tui.cli.demo import CLIPS, ENCODERS, TEST_CLIPS  # noqa: PLC0415

    where = {"data": str(data)}
    return (
        ("shapes", {**where, "clips": CLIPS, "test_clips": TEST_CLIPS}),
        ("preprocess", {**where, **ENCODERS, "frames": 8, "size": 64}),
    )


def _free(root: Path) -> int:
    import shutil  # noqa: PLC0415

    return shutil.disk_usage(root if root.exists() else root.parent).free


def steps_there(
    services: Services, name: str, verb: str, spec: Spec, left: threading.Event
) -> Iterator[StepState | JobKey]:
    """On another machine: remote's own steps; the built-in world is made there when it is what is missing."""
    from remote.launch import Launch as Steps  # noqa: PLC0415

    jobs = services.jobs(name)
    data = Path(str(getattr(spec, "data", "")))
    steps = Steps(jobs.host, services.workspace, verb, spec, jobs=jobs, left=left)
    try:
        yield from steps
    except NotReady:
        if verb != "train" or data.name != WORLD or jobs.host.is_managed:
            raise
        yield StepState("data", Status.DOING, "the built-in world is made first")
        made = list(_world_made(services, name, data))
        yield from made
        steps = Steps(jobs.host, services.workspace, verb, spec, jobs=jobs, after=made[-1].job, left=left)
        yield from steps
    if steps.job is not None:
        yield JobKey(name, steps.job.job)


def _world_made(services: Services, name: str, data: Path) -> Iterator[JobKey]:
    """The jobs that make the built-in world, each after the one before."""
    after = None
    for verb, values in world_of(data):
        after = services.submit(name, verb, services.spec(verb, values), after=after).job
        yield JobKey(name, after)
