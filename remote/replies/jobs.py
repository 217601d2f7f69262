"""What an agent says of jobs: how they stand, what a start or a stop came to, and what following one brings."""

from __future__ import annotations

from dataclasses import dataclass

from remote.replies.job_row import JobRow
from t2v_core.disk.typed_json import Amount, ShownText


@dataclass(frozen=True)
class JobRows:
    """The jobs that were asked for, oldest first.

    tag:     by which this reply is known when all are asked for again; empty when only some were
    is_news: only those that read differently than in the reply that the asker knows
    """

    jobs: tuple[JobRow, ...]
    tag: ShownText = ""
    is_news: bool = False


@dataclass(frozen=True)
class Started:
    """is_new: made by this request; False for one that an earlier request with the same key made"""

    job: str
    is_new: bool
    state: str


@dataclass(frozen=True)
class GpuHolder:
    """A process that still holds memory of a GPU. memory_used_mib: None where the driver does not say"""

    pid: int
    memory_used_mib: float | None = None


@dataclass(frozen=True)
class Stopped:
    """What a stop came to.

    how:      what it took: stop file, SIGINT, SIGTERM, SIGKILL; `had ended` when there was nothing to stop
    left:     processes of the job that are still alive
    gpu_left: those of them, or of it, that still hold GPU memory
    """

    state: ShownText
    how: ShownText
    left: tuple[int, ...]
    gpu_left: tuple[GpuHolder, ...]


@dataclass(frozen=True)
class Resumed:
    """A training that goes on after a preemption.

    before:          the job that was preempted
    is_new:          False when somebody else asked at the same moment
    from_checkpoint: False when it had not come to its first, and begins anew
    """

    job: str
    before: str
    is_new: bool
    from_checkpoint: bool


@dataclass(frozen=True)
class ResumedJobs:
    """Those that go on because they were asked for: one or none."""

    resumed: tuple[Resumed, ...]


@dataclass(frozen=True)
class FollowedBytes:
    """Stands before bytes of a job's file. offset: of the first of them, from the file's beginning"""

    file: str
    offset: Amount


@dataclass(frozen=True)
class FollowedEnd:
    """The job has ended, and every byte of it was sent."""

    end: JobRow
