"""From a press to the first loss: the steps of starting work on a host, told one by one by a thread of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.errors import NotReady
from remote.steps import Status, StepState
from t2v_core.errors import EngineError
from t2v_tui.news import LaunchEstimated, LaunchSaid, LaunchTurned
from t2v_tui.services import Services
from t2v_tui.state import JobKey, LaunchPhase
from t2v_tui.streams import Stream, Tell
from t2v_tui.words import duration, gb, usd

if TYPE_CHECKING:
    from t2v_core.specs import Spec
    from t2v_tui.providers import Provider, TellStep

TAIL_LINES = 20
INSTALLING = ("venv", "dependencies")
ESTIMATE_TIMEOUT_S = 180.0
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
        self.job: JobKey | None = None
        self._doing = "launch"

    def run(self) -> None:
        try:
            spec = self.services.spec(self.wanted.verb, self.wanted.values)
            for step in self.services.launch(self.wanted.host, self.wanted.verb, spec, self._say, self._closed):
                if isinstance(step, JobKey):
                    self.job = step
                else:
                    self._say(step)
                if self.is_closed:
                    break
        except EngineError as error:
            self._failed(error)
            return
        if self.is_closed:
            self._undo()
        elif self.job is not None:
            self.tell(LaunchTurned(LaunchPhase.WORKING, self.job))

    def _say(self, step: StepState) -> None:
        if not self.is_closed:
            self._doing = step.name
            self.tell(LaunchSaid(step))

    def _failed(self, error: EngineError) -> None:
        if self.is_closed:
            return
        self.tell(LaunchSaid(StepState(self._doing, Status.FAILED, error.message, error.hint)))
        self.tell(LaunchTurned(LaunchPhase.FAILED, tail=self._tail()))

    def _tail(self) -> tuple[str, ...]:
        """The end of the log of what installed there, when it was that."""
        found = [job.key for job in self.services.remembered() if job.row.verb == "bootstrap"]
        there = sorted(key for key in found if key.host == self.wanted.host)
        is_install = self._doing in INSTALLING and there
        return self.services.tail_of(there[-1], TAIL_LINES) if is_install else ()

    def _undo(self) -> None:
        """The job began while somebody said no."""
        if self.job is not None:
            try:
                self.services.stop(self.job, grace_s=0.0)
            except EngineError as error:
                self.tell(LaunchSaid(StepState("launch", Status.FAILED, error.message, error.hint)))


class Estimating(Stream):
    """Asks the engine, in a child of low priority, what the work will take; says nothing when it cannot tell."""

    def __init__(self, wanted: Wanted, services: Services, tell: Tell, price: float | None, gpu: str) -> None:
        super().__init__("estimate", tell)
        self.wanted, self.services, self.price, self.gpu = wanted, services, price, gpu

    def run(self) -> None:
        try:
            done = subprocess.run(
                self._argv(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ESTIMATE_TIMEOUT_S,
                check=False,
            )  # fmt: skip
            said = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
            said = {}
        if not self.is_closed:
            self.tell(LaunchEstimated(sentences(said, self.price)))

    def _argv(self) -> list[str]:
        flags = [
            f"--{name.replace('_', '-')}={value}" for name, value in self.wanted.values.items() if value is not None
        ]
        gpu = [f"--gpu={self.gpu}"] if self.gpu else []
        command = [sys.executable, "-m", "t2v_tui.cli.main", "--workspace", str(self.services.workspace.root), "--json"]
        return ["nice", "-n", "19", *command, "estimate", "--no-probe", *gpu, *flags]


def sentences(said: Mapping[str, Any], price: float | None) -> tuple[str, ...]:
    """An estimate in one or two lines: time and price, then what does not fit."""
    timed = said.get("time")
    if not timed:
        return ("how long it will take is not known",)
    seconds = float(timed["total_s"])
    cost = f" → about {usd(seconds / 3600 * price)}" if price else ""
    where = said.get("machine", {}).get("name", "")
    lines = [f"about {duration(seconds)} for {timed['steps']:,} steps on {where}{cost}"]
    fits = said.get("fits", {})
    if not fits.get("memory", True):
        lines.append(f"needs {gb(said['memory']['peak_bytes'])} of memory, which is not there")
    if not fits.get("disk", True):
        lines.append(f"needs {gb(said['disk']['expected'])} of disk, which is not free")
    return tuple(lines)


def vm_up(provider: Provider, tell: TellStep, left: threading.Event) -> Iterator[StepState]:
    """A machine that is off is started first."""
    yield StepState("VM", Status.DOING, "asking the provider")
    before = provider.look().vm.power
    provider.start(tell, left)
    now = provider.look().vm
    yield StepState("VM", Status.OK if before is now.power else Status.DONE, f"{now.power.value} {now.machine}")


def steps_here(services: Services, name: str, verb: str, spec: Spec, root: Path) -> Iterator[StepState | JobKey]:
    """On a host whose files are files of this machine: data, disk, launch."""
    from t2v_core.workspace import Workspace  # noqa: PLC0415

    after = None
    if verb == "train":
        for step in _data(services, name, spec, Workspace(root)):
            if isinstance(step, JobKey):
                after = step.job
            else:
                yield step
    yield StepState("disk", Status.OK, f"{gb(_free(root))} free")
    yield StepState("launch", Status.DOING)
    made = services.submit(name, verb, spec, after=after)
    yield StepState("launch", Status.DONE, made.job)
    yield JobKey(name, made.job)


def _data(services: Services, name: str, spec: Spec, there: Any) -> Iterator[StepState | JobKey]:
    from t2v_core.files import incompleteness  # noqa: PLC0415
    from t2v_core.workspace import Dataset  # noqa: PLC0415

    data = Path(str(getattr(spec, "data")))  # noqa: B009 - a training's spec has it
    dataset = Dataset(there.resolve(data))
    yield StepState("data", Status.DOING, str(data))
    why = incompleteness(dataset.latents / "train")
    if why is None:
        yield StepState("data", Status.OK, str(data))
        return
    if data.name != WORLD:
        raise DataMissing(f"{data} is not preprocessed: {why}", "6 shows the data set and preprocesses it")
    made = _world_made(services, name, data)
    yield StepState("data", Status.DONE, "the built-in world is made first; training waits for it")
    yield JobKey(name, made)


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


def steps_there(services: Services, name: str, verb: str, spec: Spec) -> Iterator[StepState | JobKey]:
    """On another machine: remote's own steps; the built-in world is made there when it is what is missing."""
    from remote.launch import Launch as Steps  # noqa: PLC0415

    jobs = services.jobs(name)
    data = Path(str(getattr(spec, "data", "")))
    steps = Steps(jobs.host, services.workspace, verb, spec, jobs=jobs)
    try:
        yield from steps
    except NotReady:
        if verb != "train" or data.name != WORLD or jobs.host.is_managed:
            raise
        yield StepState("data", Status.DOING, "the built-in world is made first")
        made = _world_made(services, name, data)
        steps = Steps(jobs.host, services.workspace, verb, spec, jobs=jobs, after=made)
        yield from steps
    if steps.job is not None:
        yield JobKey(name, steps.job.job)


def _world_made(services: Services, name: str, data: Path) -> str:
    """The last of the jobs that make the built-in world."""
    made = None
    for verb, values in world_of(data):
        made = services.submit(name, verb, services.spec(verb, values), after=made.job if made else None)
    assert made is not None  # noqa: S101 - there are two
    return made.job
