"""What `t2v estimate` returns: the one result that has parts."""

from __future__ import annotations

from dataclasses import dataclass

from t2v_core.events.results import Result


@dataclass(frozen=True, kw_only=True)
class ModelPart(Result):
    """arithmetic: fp32, bf16 or fp16"""

    preset: str
    parameters: int
    arithmetic: str


@dataclass(frozen=True, kw_only=True)
class MachinePart(Result):
    """memory_bytes: what a training can have; is_here: it is this machine, and they are free now"""

    name: str
    memory_bytes: int
    is_here: bool


@dataclass(frozen=True, kw_only=True)
class ShapeShare(Result):
    """How many clips have latents of a shape."""

    shape: tuple[int, int, int, int]
    clips: int


@dataclass(frozen=True, kw_only=True)
class DataFacts(Result):
    """A data set, preprocessed or not.

    clips: to train on, held-out ones included
    shape: (frames, channels, height, width) of one clip's latents, the largest; shares: where there are several, how
    many clips have which
    null_length: tokens of the empty prompt
    latents_bytes, text_bytes: on disk, all splits; what they are if preprocessed, what they will be if not
    source: in words
    """

    clips: int
    shape: tuple[int, int, int, int]
    text_dim: int
    pooled_dim: int
    null_length: int
    latents_bytes: int
    text_bytes: int
    is_preprocessed: bool
    source: str
    shares: tuple[ShapeShare, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MemoryPart(Result):
    """Of a step, as `t2v_core.training.forecast.memory.StepMemory` describes it; measured: None without a probe"""

    weights_bytes: int
    gradients_bytes: int
    adam_bytes: int
    ema_bytes: int
    activations_bytes: int
    framework_bytes: int
    allocator_bytes: int
    latents_bytes: int
    scratch_bytes: int
    peak_bytes: int
    batch_size: int
    measured_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class DiskPart(Result):
    """Bytes, as `t2v_core.training.forecast.forecast.Disk` describes them."""

    latents: int
    text: int
    checkpoint: int
    kept: int
    expected: int
    free: int
    checkpoints: int


@dataclass(frozen=True, kw_only=True)
class TimePart(Result):
    """As `Pace` and `Duration` of `t2v_core.training.forecast.forecast` describe it."""

    step_s: float
    clips: int
    source: str
    is_measured: bool
    steps_per_epoch: int
    steps: int
    epoch_s: float
    total_s: float
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Fits(Result):
    """Whether there is room for it."""

    memory: bool
    disk: bool


@dataclass(frozen=True, kw_only=True)
class Estimated(Result):
    """Of `estimate`.

    time:          None where it cannot be said
    largest_batch: 0 when not even one clip fits
    advice:        what to change so that it fits
    """

    model: ModelPart
    machine: MachinePart
    data: DataFacts
    memory: MemoryPart
    disk: DiskPart
    time: TimePart | None
    fits: Fits
    largest_batch: int
    advice: tuple[str, ...]

    @property
    def total_s(self) -> float | None:
        """Return how long all of it takes, if that can be said."""
        return None if self.time is None else self.time.total_s
