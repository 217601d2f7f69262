"""`t2v verify-resume`: training that is killed and resumed ends as training that was not, or it says what differs.

Each run is the real `train` in processes of its own, on clips of the built-in world, and each kill is a SIGKILL.
"""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core.disk.files import STAGING
from t2v_core.errors import EngineError, InvalidRequest, WorkFailed
from t2v_core.events import DoneEvent, ErrorEvent, StepEvent
from t2v_core.events.results import KilledRun, ResumeVerified
from t2v_core.job import Job
from t2v_core.resume_check.children import Children, load_engine, start_children
from t2v_core.resume_check.compare import Difference, compare
from t2v_core.resume_check.kill_point import KillPoint, seen
from t2v_core.specs import VerifyResumeSpec
from t2v_core.workspace import Workspace

BATCH, ACCUMULATION, STEPS_PER_EPOCH = 2, 2, 4
# A tenth is held out, and what is left over in an epoch waits for the next one: order is more than a shuffle.
CLIPS_PER_PROCESS = 18
FRAMES, SIZE = 8, 64
# Without --deterministic a GPU adds up in another order each time: two runs that nobody killed show by how much.
ROUNDING_FACTOR = 10


@dataclass(frozen=True)
class Case:
    """One way to be killed.

    where: for people
    point: for the process
    """

    where: str
    point: KillPoint


def cases(steps: int) -> list[Case]:
    """Return the three moments that matter, about half-way through `steps`; none of them at the end of an epoch."""
    middle = steps // 2
    middle += middle % STEPS_PER_EPOCH == 0
    passes, epochs = middle * ACCUMULATION, middle // STEPS_PER_EPOCH
    return [
        Case(
            "in the middle of an epoch",
            KillPoint(forward=passes + ACCUMULATION, saved_step=middle, save_at=passes - ACCUMULATION),
        ),
        Case(
            "in the middle of an accumulation",
            KillPoint(forward=passes + 1, saved_step=epochs * STEPS_PER_EPOCH),
        ),
        Case(
            "in the middle of a checkpoint write",
            KillPoint(checkpoint=epochs + 1, file="optimizer.safetensors"),
        ),
    ]


def verify_resume(spec: VerifyResumeSpec, job: Job) -> ResumeVerified:
    """Train once whole, and three times killed and resumed; compare weights, averages, moments and order.

    Returns verdict, largest difference and what was done. Raises WorkFailed when a resumed run ends differently, and
    what a run raised.
    """
    began = time.monotonic()
    load_engine()
    trial = _Trial(spec, job)
    job.events.stage("data", f"{trial.clips} clips of the built-in world")
    trial.make_data()
    whole = trial.whole("whole")
    is_on_gpu = whole.device != "cpu"
    allowed, again = 0.0, None
    if is_on_gpu and not spec.deterministic:
        again = _largest(compare(whole.checkpoint, trial.whole("again").checkpoint))
        allowed = ROUNDING_FACTOR * again
    told = [trial.killed_and_resumed(case, whole) for case in cases(spec.steps)]
    wrong = [case for case in told if not case.order_is_same or case.largest_difference > allowed]
    result = ResumeVerified(
        exact=not any(case.differing for case in told),
        largest_difference=max(case.largest_difference for case in told),
        cases=tuple(told),
        between_two_whole_runs=again,
        preset=spec.preset,
        steps=spec.steps,
        processes=spec.processes,
        device=whole.device,
        took_s=round(time.monotonic() - began, 1),
    )
    if wrong:
        raise WorkFailed(_sentence(wrong[0]), hint=f"the runs are kept to look at, in {trial.workspace.root}")
    shutil.rmtree(trial.workspace.root)
    return result


@dataclass(frozen=True)
class _Run:
    """A training that went to its end. seen: by the model of each process, pass by pass"""

    checkpoint: Path
    seen: list[list[dict[str, Any]]]

    @property
    def device(self) -> str:
        """Return the device that the model of the first process ran on."""
        return str(self.seen[0][0]["device"])


class _Trial:
    """A workspace within the job's folder, and the runs in it."""

    def __init__(self, spec: VerifyResumeSpec, job: Job) -> None:
        self.spec, self.job = spec, job
        self.workspace = Workspace(job.directory / "trial")
        self.workspace.root.mkdir()
        self.clips = CLIPS_PER_PROCESS * spec.processes

    def make_data(self) -> None:
        """Make clips of the built-in world and preprocess them with the embedded encoders."""
        self._run("shapes", {"data": "data", "clips": self.clips, "test_clips": 1, "frames": FRAMES, "size": SIZE})
        encoders = {"vae": "embedded", "text_encoder": "embedded", "frames": FRAMES, "size": SIZE}
        self._run("preprocess", encoders | {"data": "data", "device": self.spec.device})

    def whole(self, name: str) -> _Run:
        """Run a training that nobody kills."""
        self.job.events.stage(name, f"{self._described()}, not killed")
        children = self._run("train", self._training(name), processes=self.spec.processes)
        return self._ended(children)

    def killed_and_resumed(self, case: Case, whole: _Run) -> KilledRun:
        """Train until the point, resume, and tell how the end differs from the end of `whole`."""
        name = case.where.replace(" ", "-")
        self.job.events.stage("killed", f"{case.where}, then resumed")
        killed = self._begin("train", self._training(name), point=case.point)
        code = killed.end(self.job.check_stop)
        if code != -signal.SIGKILL:
            raise self._failure(killed, code, f"it was to be killed {case.where}")
        before = [seen(killed.directory, rank) for rank in range(self.spec.processes)]
        left = sorted(path.name for path in (self.workspace.root / name).glob(f"{STAGING}*/*"))
        resumed = self._run(
            "train",
            {"resume": True, "checkpoints": name, "device": self.spec.device},
            processes=self.spec.processes,
        )
        run = self._ended(resumed)
        first = next(event.step for event in resumed.events if isinstance(event, StepEvent)) - 1
        differences = compare(whole.checkpoint, run.checkpoint)
        told = KilledRun(
            killed=case.where,
            steps_done=len(before[0]) // ACCUMULATION,
            resumed_at=first,
            left_half_written=tuple(left),
            order_is_same=_is_same_order(whole.seen, before, run.seen, first * ACCUMULATION),
            tensors=sum(part.tensors for part in differences.values()),
            differing=tuple(f"{what} {name}" for what, part in differences.items() for name in part.differing),
            largest_difference=_largest(differences),
        )
        shutil.rmtree(self.workspace.root / name)  # of the large presets each is gigabytes
        return told

    def _described(self) -> str:
        processes = f" in {self.spec.processes} processes" if self.spec.processes > 1 else ""
        return f"{self.spec.preset}, {self.spec.steps} steps{processes}"

    def _training(self, name: str) -> dict[str, Any]:
        spec = self.spec
        return {
            "preset": spec.preset, "data": "data", "checkpoints": name, "max_steps": spec.steps,
            "epochs": math.ceil(spec.steps / STEPS_PER_EPOCH), "batch_size": BATCH,
            "gradient_accumulation": ACCUMULATION, "checkpoint_every": 1, "keep_last": 2, "keep_best": 0, "samples": 0,
            "deterministic": spec.deterministic, "precision": spec.precision, "seed": spec.seed, "device": spec.device,
        }  # fmt: skip

    def _begin(
        self, verb: str, values: Mapping[str, Any], *, processes: int | None = None, point: KillPoint | None = None
    ) -> Children:
        return start_children(self.workspace, verb, values, processes=processes or self.spec.processes, point=point)

    def _run(self, verb: str, values: Mapping[str, Any], *, processes: int = 1) -> Children:
        """A job to its end. Raises what it failed with."""
        children = self._begin(verb, values, processes=processes)
        code = children.end(self.job.check_stop)
        if code:
            raise self._failure(children, code, verb)
        return children

    def _failure(self, children: Children, code: int, what: str) -> EngineError:
        said = next((event for event in children.events if isinstance(event, ErrorEvent)), None)
        if said is not None:
            kind = InvalidRequest if said.exit_code == InvalidRequest.exit_code else WorkFailed
            return kind(said.message, said.hint)
        last = (children.log.strip().splitlines() or ["its log is empty"])[-1]
        return WorkFailed(f"{what}: a run ended with exit code {code}: {last}", hint=f"see {children.directory}/log")

    def _ended(self, children: Children) -> _Run:
        done = next(event for event in children.events if isinstance(event, DoneEvent))
        (checkpoint,) = done.asked_for()
        by_rank = [seen(children.directory, rank) for rank in range(self.spec.processes)]
        return _Run(Path(checkpoint), by_rank)


def _is_same_order(
    whole: list[list[dict[str, Any]]], killed: list[list[dict[str, Any]]], resumed: list[list[dict[str, Any]]], at: int
) -> bool:
    """True when each process saw the same clips, captions, noise and timesteps in the same order, before and after.

    at: forward pass of `whole` with which `resumed` begins
    """
    return all(
        first == whole_rank[: len(first)] and then == whole_rank[at:]
        for whole_rank, first, then in zip(whole, killed, resumed, strict=True)
    )


def _largest(differences: Mapping[str, Difference]) -> float:
    return max(part.largest for part in differences.values())


def _sentence(case: KilledRun) -> str:
    if not case.order_is_same:
        return f"killed {case.killed} and resumed, training saw other clips or noise than the run that was not"
    return (
        f"killed {case.killed} and resumed, training ended differently: {len(case.differing)} of "
        f"{case.tensors} tensors differ, by up to {case.largest_difference:.3g}, first {case.differing[0]}"
    )
