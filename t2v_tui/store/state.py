"""What the screens draw: frozen dataclasses. They hold no truth of their own; all of it can be found again.

Times are Unix seconds by this machine's clock unless a job's row says them (those are its host's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from remote.power.state import Power
from remote.replies.job_row import JobRow
from remote.steps import Status, StepState
from t2v_tui.store.cost_view import CostView

if TYPE_CHECKING:
    from remote.jobs.metrics import MachineSample

LOCAL = "local"


class JobKey(NamedTuple):
    """A job and where it is."""

    host: str
    job: str


class Reach(StrEnum):
    """cached: only remembered, nobody has asked yet in this session"""

    CACHED = "cached"
    ASKING = "asking"
    UP = "up"
    LOST = "lost"


class HostKind(StrEnum):
    LOCAL = "local"
    SSH = "ssh"
    VM = "vm"


@dataclass(frozen=True)
class LinkView:
    """Whether a host is heard.

    since_t:   of this state of the link
    seen_t:    when it was heard last; None: never
    latency_s: of a question and its answer
    """

    reach: Reach = Reach.ASKING
    since_t: float = 0.0
    seen_t: float | None = None
    latency_s: float | None = None
    why: str = ""
    hint: str = ""


@dataclass(frozen=True)
class VmView:
    """What the provider says of a VM.

    seen_t:     when it said so
    started_t:  of the session that runs
    asked:      who says so, in at most two words
    problem:    why the provider could not be asked, with its hint; may be empty
    """

    power: Power = Power.UNKNOWN
    seen_t: float | None = None
    started_t: float | None = None
    machine: str = ""
    zone: str = ""
    is_simulated: bool = False
    problem: str = ""
    gpus: str = ""
    hint: str = ""
    asked: str = "the API"


@dataclass(frozen=True)
class GuardView:
    """When a VM stops by itself.

    stops_t: Unix time, None while work holds it up
    why:     what it waits for, in a few words
    cap_t:   when it stops whatever it does
    """

    stops_t: float | None = None
    why: str = ""
    kept_until_t: float | None = None
    cap_t: float | None = None
    is_busy: bool = False


@dataclass(frozen=True)
class HostView:
    """One place that works."""

    name: str
    kind: HostKind
    address: str = ""
    workdir: str = ""
    link: LinkView = field(default_factory=LinkView)
    vm: VmView | None = None
    cost: CostView | None = None
    guard: GuardView | None = None
    machine: MachineSample | None = None
    machine_t: float | None = None


@dataclass(frozen=True)
class JobView:
    """A job as its host told it at `seen_t`."""

    key: JobKey
    row: JobRow
    seen_t: float


@dataclass(frozen=True)
class Curve:
    """What a training's losses did. steps rise; `losses[i]` is of `steps[i]`.

    held_out:    (step, held-out loss)
    checkpoints: steps at which one was written
    samples:     steps at which videos were made
    """

    steps: Sequence[float] = ()
    losses: Sequence[float] = ()
    held_out: tuple[tuple[int, float], ...] = ()
    checkpoints: tuple[int, ...] = ()
    samples: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A video that a job made. video, beside: paths there, relative to its workspace or absolute; beside: its .json"""

    video: str
    prompt: str
    step: int
    beside: str = ""


@dataclass(frozen=True)
class RunView:
    """What a followed job said.

    done, total, unit: of what it counts now
    rate:    `unit` a second over the last reports; None until two tell
    link_why: the link to its host is down, and why; empty while it is heard
    heard_t: when it said something last, by its host's clock
    """

    stage: str = ""
    detail: str = ""
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    rate: float | None = None
    epoch: int = 0
    loss: float | None = None
    held_out_loss: float | None = None
    samples_per_s: float | None = None
    curve: Curve = field(default_factory=Curve)
    samples: tuple[Sample, ...] = ()
    checkpoints: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    heard_t: float = 0.0
    link_why: str = ""
    recent: tuple[tuple[float, float], ...] = ()

    @property
    def time_left_s(self) -> float | None:
        """Return the seconds left at its present rate; None while rate or total is not known."""
        return (self.total - self.done) / self.rate if self.rate and self.total else None


class LaunchPhase(StrEnum):
    """asking: an explicit yes is wanted, since it will cost"""

    ASKING = "asking"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class LaunchView:
    """A start of work: what it will take, and its steps.

    estimate: sentences, price first; filled in as they are known
    tail:     last lines of what failed
    screen:   where it was started, and is shown
    waiting:  how many more starts wait for this one to have its job
    """

    verb: str
    host: str
    phase: LaunchPhase
    began_t: float
    title: str = ""
    estimate: tuple[str, ...] = ()
    steps: tuple[StepState, ...] = ()
    tail: tuple[str, ...] = ()
    job: JobKey | None = None
    screen: str = "train"
    waiting: int = 0

    @property
    def failed_step(self) -> StepState | None:
        """Return the first step that failed; None when none has."""
        return next((step for step in self.steps if step.status is Status.FAILED), None)


@dataclass(frozen=True)
class TransferView:
    """Files on their way. state: queued, running, done, failed or paused; rate: bytes a second"""

    id: str
    host: str
    what: str
    is_pull: bool
    done_bytes: int = 0
    total_bytes: int = 0
    rate: float | None = None
    state: str = "queued"
    why: str = ""


@dataclass(frozen=True)
class State:
    """Everything that is drawn.

    host:  the chosen one
    shown: the job that Train and Log show
    """

    workspace: Path
    hosts: Mapping[str, HostView] = field(default_factory=dict)
    host: str = LOCAL
    jobs: Mapping[JobKey, JobView] = field(default_factory=dict)
    runs: Mapping[JobKey, RunView] = field(default_factory=dict)
    shown: JobKey | None = None
    launch: LaunchView | None = None
    transfers: tuple[TransferView, ...] = ()
    is_read_only: bool = False
    is_demo: bool = False

    @property
    def chosen(self) -> HostView:
        """Return the chosen host; one that is not known stands as a local one of that name."""
        return self.hosts.get(self.host) or HostView(self.host, HostKind.LOCAL)

    @property
    def shown_job(self) -> JobView | None:
        """Return the job that Train and Log show; None when there is none, or it is not known."""
        return None if self.shown is None else self.jobs.get(self.shown)

    @property
    def shown_run(self) -> RunView | None:
        """Return what the shown job has said; None while nothing was heard of it."""
        return None if self.shown is None else self.runs.get(self.shown)

    @cached_property
    def alive(self) -> tuple[JobView, ...]:
        """Return jobs that have not ended, the newest first."""
        alive = (job for job in self.jobs.values() if not job.row.has_ended)
        return tuple(sorted(alive, key=lambda one: one.row.began_t, reverse=True))

    @property
    def is_at_rest(self) -> bool:
        """Tell whether nothing in it is counted in seconds: no work, no start, no transfer, no other machine."""
        is_elsewhere = any(host.kind is not HostKind.LOCAL for host in self.hosts.values())
        is_moving = any(one.state in ("running", "queued") for one in self.transfers)
        return not (self.alive or self.launch is not None or is_moving or is_elsewhere)
