"""What a training will take, in bytes and seconds, and where these figures come from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path
from typing import Any

from t2v_core.data.store.batches import split_held_out
from t2v_core.data.store.mixed_plan import plan_for
from t2v_core.events.estimated import DataFacts
from t2v_core.specs import TrainSpec
from t2v_core.training.base.base import lora_settings
from t2v_core.training.forecast.gpus import Gpu
from t2v_core.training.forecast.machines import Machine
from t2v_core.training.forecast.memory import BYTES, StepMemory, StepShape, step_memory
from t2v_core.training.optimizers.eight_bits import moments_bytes

HELD_OUT_TIMESTEPS = 4  # of each held-out clip, once an epoch; see training/callbacks/held_out_loss.py
FORWARD_SHARE = 1 / 3  # of a training step: the backward pass is twice the forward one
RECOMPUTED_SHARE = 4 / 3  # with gradient checkpointing the forward pass is made twice
# Latents up to this share of the free memory are held in it; see t2v_core.training.setup.
IN_MEMORY_SHARE = 0.5
LARGEST_BATCH = 1024


def memory_of(spec: TrainSpec, config: Mapping[str, Any], facts: DataFacts, machine: Machine) -> StepMemory:
    """Reckon the memory of a training step of `spec` on `machine`."""
    shape = StepShape(spec.batch_size, machine.dtype, spec.gradient_checkpointing, spec.gradient_accumulation)
    memory = step_memory(
        config,
        shape,
        device=machine.device,
        framework=machine.framework_bytes,
        latents=_held_latents(spec, facts, machine),
        lora=lora_settings(spec),
        averages=3 if spec.power_averages else 1,
        optimizer=spec.optimizer,
    )
    return divided(memory, processes_of(spec)) if spec.shard else memory


def processes_of(spec: TrainSpec) -> int:
    """Return the processes that share each step; 1 for `auto`, as long as nobody has counted GPUs."""
    return spec.processes if isinstance(spec.processes, int) else 1


def divided(memory: StepMemory, processes: int) -> StepMemory:
    """Return what one of several processes holds that each have their part of a model.

    The layer that computes, which it has whole meanwhile, is not counted.
    """
    parts = ("weights", "gradients", "adam", "ema", "scratch")
    return replace(memory, **{name: ceil(getattr(memory, name) / processes) for name in parts})


def _held_latents(spec: TrainSpec, facts: DataFacts, machine: Machine) -> int:
    """On the CPU the data set shares the memory with the run."""
    is_far = spec.latents is not None and spec.latents_in_memory == "auto"
    if machine.device != "cpu" or spec.latents_in_memory == "no" or is_far:
        return 0
    fits = facts.latents_bytes < IN_MEMORY_SHARE * machine.memory_bytes
    return facts.latents_bytes if fits or spec.latents_in_memory == "yes" else 0


def largest_batch(spec: TrainSpec, config: Mapping[str, Any], facts: DataFacts, machine: Machine) -> int:
    """Return the most clips of a forward pass that fit; 0 when not even one does. Memory is linear in the batch."""
    one, two = (memory_of(spec.model_copy(update={"batch_size": n}), config, facts, machine) for n in (1, 2))
    if one.peak > machine.memory_bytes or one.peak_in_backward > machine.memory_bytes:
        return 0
    a_clip = max(1, two.peak_in_backward - one.peak_in_backward)
    return min(LARGEST_BATCH, 1 + (machine.memory_bytes - one.peak_in_backward) // a_clip)


@dataclass(frozen=True)
class Disk:
    """Bytes. expected: what is not there yet; free: on the workspace's disk, now"""

    latents: int
    text: int
    checkpoint: int
    kept: int
    expected: int
    free: int

    @property
    def checkpoints(self) -> int:
        """Return the bytes of all checkpoints that are kept at once."""
        return self.checkpoint * self.kept

    @property
    def fits(self) -> bool:
        """Return True when what is not there yet fits into the free space."""
        return self.expected <= self.free


def disk_of(spec: TrainSpec, parameters: int, facts: DataFacts, folder: Path, there_already: int) -> Disk:
    """Reckon what a run takes on the disk.

    folder: of the checkpoints; there_already: bytes of them that lie there and will make room
    """
    checkpoint = 2 * BYTES * parameters + moments_bytes((parameters,), spec.optimizer)  # weights, averages, moments
    steps_end_early = spec.max_steps is not None
    written = 1 if steps_end_early else ceil(spec.epochs / spec.checkpoint_every)
    # The next one is complete before the one it replaces goes.
    kept = min(written, spec.keep_last + spec.keep_best + 1)
    to_come = 0 if facts.is_preprocessed else facts.latents_bytes + facts.text_bytes
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return Disk(
        latents=facts.latents_bytes,
        text=facts.text_bytes,
        checkpoint=checkpoint,
        kept=kept,
        expected=to_come + max(0, checkpoint * kept - there_already),
        free=shutil.disk_usage(existing).free,
    )


# However small the model: a pass forward and backward launches about a thousand kernels, some 10 µs each (assumed).
LEAST_PASS_S = 0.01


@dataclass(frozen=True)
class Pace:
    """step_s: of one optimiser step of `clips` clips; source: where that comes from, in words"""

    step_s: float
    clips: int
    source: str
    is_measured: bool


def pace_of_table(spec: TrainSpec, flops: float, gpu: Gpu, arithmetic: str, mfu: float) -> Pace:
    """Reckon the pace from a data sheet. flops: of one clip, forward and backward"""
    peak = gpu.fp32_flops if arithmetic == "fp32" else gpu.half_flops
    clips = spec.batch_size * spec.gradient_accumulation
    extra = RECOMPUTED_SHARE if spec.gradient_checkpointing else 1.0
    source = f"{gpu.name}'s data sheet, {peak / 1e12:.0f} TFLOP/s in {arithmetic}, of which {mfu:.0%} is assumed"
    step_s = max(clips * flops * extra / (peak * mfu), spec.gradient_accumulation * LEAST_PASS_S)
    return Pace(step_s, clips, source, is_measured=False)


@dataclass(frozen=True)
class Duration:
    """steps: in all; epoch_s, total_s: held-out losses included, checkpoints and sample videos not"""

    steps_per_epoch: int
    steps: int
    epoch_s: float
    total_s: float


def duration_of(spec: TrainSpec, facts: DataFacts, pace: Pace) -> Duration:
    """Reckon how long a run takes at that pace of each of its processes."""
    training, held_out = split_held_out([str(number) for number in range(facts.clips)], spec.held_out_clips)
    buckets = _in_buckets(training, [share.clips for share in facts.shares])
    plan = plan_for(buckets, spec.batch_size, spec.gradient_accumulation, processes_of(spec), spec.seed)
    steps = spec.epochs * plan.steps_per_epoch
    steps = steps if spec.max_steps is None else min(steps, spec.max_steps)
    losses_s = len(held_out) * HELD_OUT_TIMESTEPS * FORWARD_SHARE * pace.step_s / pace.clips
    epoch_s = plan.steps_per_epoch * pace.step_s + losses_s
    return Duration(plan.steps_per_epoch, steps, epoch_s, epoch_s * steps / plan.steps_per_epoch)


def _in_buckets(rows: Sequence[int], shares: Sequence[int]) -> list[list[int]]:
    """Rows as if the clips of a bucket lay side by side: which of them are held out is known when there are any."""
    bounds = pairwise(accumulate(shares, initial=0))
    return [[row for row in rows if begin <= row < end] for begin, end in bounds] if shares else [list(rows)]
