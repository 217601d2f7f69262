"""What can happen, as workers tell it: frozen dataclasses that `reduce` makes the next state of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from remote.replies.job_row import JobRow
from remote.steps import StepState
from t2v_tui.store.cost_view import CostView
from t2v_tui.store.state import (
    GuardView,
    HostView,
    JobKey,
    JobView,
    LaunchPhase,
    LaunchView,
    LinkView,
    Sample,
    TransferView,
    VmView,
)

if TYPE_CHECKING:
    from remote.jobs.metrics import MachineSample


@dataclass(frozen=True)
class HostsKnown:
    """The hosts of t2v.toml, as it is read now; what is known of each is kept."""

    hosts: tuple[HostView, ...]


@dataclass(frozen=True)
class Remembered:
    """What the last session left, and the spool: for the first paint."""

    hosts: Mapping[str, HostView]
    jobs: tuple[JobView, ...]
    host: str
    shown: JobKey | None


@dataclass(frozen=True)
class HostChosen:
    host: str


@dataclass(frozen=True)
class JobShown:
    job: JobKey | None


@dataclass(frozen=True)
class LinkReceived:
    """A host answered, or did not."""

    host: str
    link: LinkView


@dataclass(frozen=True)
class RowsReceived:
    """All jobs of a host as it says now."""

    host: str
    rows: tuple[JobRow, ...]
    seen_t: float


@dataclass(frozen=True)
class VmReceived:
    """The provider answered; what is None stays as it was."""

    host: str
    vm: VmView
    cost: CostView | None = None
    guard: GuardView | None = None


@dataclass(frozen=True)
class GuardReceived:
    host: str
    guard: GuardView | None


@dataclass(frozen=True)
class MachineReceived:
    host: str
    sample: MachineSample
    t: float


@dataclass(frozen=True)
class RunPiece:
    """What a followed job said since the last piece, folded; lists hold what is new, None what was not said.

    is_first: everything before is heard again from its beginning
    """

    job: JobKey
    is_first: bool = False
    steps: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    held_out: tuple[tuple[int, float], ...] = ()
    checkpoint_steps: tuple[int, ...] = ()
    checkpoints: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()
    warnings: tuple[str, ...] = ()
    stage: tuple[str, str] | None = None
    count: tuple[float, float, str] | None = None
    recent: tuple[tuple[float, float], ...] = ()
    epoch: int | None = None
    samples_per_s: float | None = None
    heard_t: float | None = None
    link_why: str | None = None


@dataclass(frozen=True)
class RunEnded:
    """The last row of a followed job."""

    job: JobKey
    row: JobRow
    seen_t: float


@dataclass(frozen=True)
class LaunchBegun:
    launch: LaunchView


@dataclass(frozen=True)
class LaunchSaid:
    """One step of the launch that runs."""

    step: StepState


@dataclass(frozen=True)
class LaunchEstimated:
    estimate: tuple[str, ...]


@dataclass(frozen=True)
class LaunchTurned:
    """The launch goes over into another phase."""

    phase: LaunchPhase
    job: JobKey | None = None
    tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class LaunchQueued:
    """So many more starts wait for this one to have its job."""

    waiting: int


@dataclass(frozen=True)
class LaunchLeft:
    """What becomes of the VM whose launch was cancelled; the panel may be gone by then, or another's."""

    host: str
    step: StepState


@dataclass(frozen=True)
class LaunchClosed:
    """Its panel is gone."""


@dataclass(frozen=True)
class TransferReceived:
    transfer: TransferView


@dataclass(frozen=True)
class TransferGone:
    id: str


News = (
    HostsKnown | Remembered | HostChosen | JobShown | LinkReceived | RowsReceived | VmReceived | GuardReceived |
    MachineReceived | RunPiece | RunEnded | LaunchBegun | LaunchSaid | LaunchEstimated | LaunchTurned | LaunchQueued |
    LaunchLeft | LaunchClosed | TransferReceived | TransferGone
)  # fmt: skip
