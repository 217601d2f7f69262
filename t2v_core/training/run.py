"""What a training run is made of."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from t2v_core.checkpoints.checkpoints import EMA as EMA_FILE
from t2v_core.checkpoints.checkpoints import MODEL, OPTIMIZER, Checkpoint, remove_superseded
from t2v_core.data.bucket.ahead import Ahead
from t2v_core.data.store.batches import BatchPlan
from t2v_core.data.store.latents import LatentStore
from t2v_core.diffusion.objectives import Objective
from t2v_core.disk.formats import CHECKPOINT_FORMAT
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.denoisers.by_name import denoiser_config
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.lora.adapter import Adapter
from t2v_core.specs import TrainSpec, all_values
from t2v_core.training.background_save import BackgroundSaver
from t2v_core.training.base.base import Base
from t2v_core.training.distillation.teacher import Teacher
from t2v_core.training.ema import EMA
from t2v_core.training.optimizers.optimizer import optimizer_tensors
from t2v_core.training.pace.clock import StepClock
from t2v_core.training.sharding import gathered, is_sharded
from t2v_core.training.trackers.tracker import Tracker
from t2v_core.training.trained import trained
from t2v_core.training.tricks.chosen import Tricks
from t2v_core.version import __version__

# What a run says of how it learns, where that is not AdamW.
OPTIMIZERS = {"adamw": "", "adamw8bit": ", AdamW in 8 bits", "muon": ", Muon"}


@dataclass
class TrainingRun:
    """Everything a step touches.

    step: optimiser steps done; held_out: rows of the store that training never sees
    job:  that it is, which its checkpoints name
    checkpoint: the newest complete one of this run, saved or resumed from; `saver` may be writing the next
    held_out_loss, score: of the weights as they are now; None where it has not been measured
    teacher: of a distillation; base: what the run goes on from; adapter: what is trained beside it
    ahead: fetches what is read next, where the data is not here; tricks: what else it is trained with
    """

    spec: TrainSpec
    accelerator: Accelerator
    store: LatentStore
    plan: BatchPlan
    held_out: list[int]
    model: Any  # a Denoiser, perhaps wrapped by Accelerate
    optimizer: Any  # an AdamW, wrapped by Accelerate
    ema: EMA
    objective: Objective
    tracker: Tracker
    clock: StepClock
    folder: Path
    job: str
    step: int = 0
    checkpoint: Checkpoint | None = None
    held_out_loss: float | None = None
    score: dict[str, Any] | None = None
    teacher: Teacher | None = None
    base: Base | None = None
    adapter: Adapter | None = None
    ahead: Ahead | None = None
    tricks: Tricks = field(default_factory=Tricks)
    saver: BackgroundSaver = field(default_factory=BackgroundSaver)

    @property
    def total_steps(self) -> int:
        """Return the steps of the whole run: those of all its epochs, or `max_steps` when they are fewer."""
        steps = self.spec.epochs * self.plan.steps_per_epoch
        return steps if self.spec.max_steps is None else min(steps, self.spec.max_steps)

    @property
    def passes(self) -> range:
        """Return the numbers of this process's forward passes within the step that comes next."""
        return self.passes_of(self.step)

    def passes_of(self, step: int) -> range:
        """Return the numbers of this process's forward passes within a step."""
        return self.plan.passes(self.accelerator.process_index, self.accelerator.num_processes, step)

    def gradients_shared(self, *, only_if: bool) -> AbstractContextManager[None]:
        """Have a backward pass inside share its gradients with the other processes, or keep them for a later one."""
        model = self.plain_model
        if isinstance(model, FSDPModule):
            model.set_requires_gradient_sync(only_if)
            return nullcontext()
        return nullcontext() if only_if else self.accelerator.no_sync(self.model)

    def objective_at(self, shape: Sequence[int]) -> Objective:
        """Return what is learned from clips of a shape, (frames, channels, height, width) of their latents."""
        at = None if self.base is None else self.base.objective_at
        return self.objective if at is None else at(tuple(shape))

    @property
    def is_at_epoch_end(self) -> bool:
        """Return True after the last step of an epoch, and after the last one of the run."""
        return self.step % self.plan.steps_per_epoch == 0 or self.step == self.total_steps

    @property
    def is_saved(self) -> bool:
        """Return True when there is a complete checkpoint of the step that was taken last."""
        return self.checkpoint is not None and self.checkpoint.step == self.step

    @property
    def fps(self) -> float:
        """Return a rate people can watch.

        Evenly spaced frames of a long clip are about one a second, shown at eight.
        """
        return min(max(float(self.store.clip(0)["effective_fps"]), 8.0), 30.0)

    def describe(self) -> str:
        """Return one line for people: what is trained, on what, for how long."""
        return (
            f"{self._what()}, {self.spec.objective}, {self.plain_model.over_time}, {self._clips()}, "
            f"steps {self.step} → {self.total_steps} ({self.plan.steps_per_epoch} an epoch), "
            f"{self.accelerator.device}, {self.accelerator.mixed_precision}{OPTIMIZERS[self.spec.optimizer]}"
            f"{self._division()}"
        )

    def _clips(self) -> str:
        buckets, told = len(self.store.shapes), f"{len(self.plan.clips)} clips"
        if buckets == 1:
            return told
        samples = f"; samples are {self.store.manifest['bucket']}" if self.spec.samples else ""
        return f"{told} in {buckets} buckets{samples}"

    def _division(self) -> str:
        """What several processes make of a step; empty for one."""
        processes, plan = self.accelerator.num_processes, self.plan
        if processes == 1:
            return ""
        how = "each with its part of the model" if is_sharded(self.plain_model) else "each with the whole model"
        return (
            f", {processes} processes, {how}: {plan.clips_per_step} clips a step ({plan.passes_per_step} passes of "
            f"{plan.batch_size}), learning rate {self.spec.learning_rate:g}"
        )

    def _what(self) -> str:
        count, all_of_it = (
            sum(parameter.numel() for parameter in some) / 1e6
            for some in (trained(self.plain_model).values(), self.plain_model.parameters())
        )
        name = self.spec.preset if self.base is None else ", ".join(self.base.where.values())
        if self.adapter is None:
            return f"{name}, {count:.2f} M parameters"
        return f"LoRA of rank {self.spec.lora_rank}, {count:.2f} M parameters beside {all_of_it:.2f} M of {name}"

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step: linear warm-up, then constant or a half cosine to zero; or one cycle."""
        spec, total = self.spec, self.total_steps
        if spec.lr_schedule == "one-cycle":
            warmup = round(0.08 * total) if spec.warmup_steps is None else spec.warmup_steps
            return spec.learning_rate * _one_cycle(step, warmup, total)
        warmup = spec.warmup_steps or 0
        if step < warmup:
            return spec.learning_rate * (step + 1) / warmup
        if spec.lr_schedule == "constant":
            return spec.learning_rate
        return spec.learning_rate * _half_cosine((step - warmup) / max(1, total - warmup))

    def fit(self, prompts: Conditioning) -> Conditioning:
        """Leave the pooled embedding out for a model that does not take it."""
        size = self.plain_model.null_pooled.numel()
        return prompts if size else Conditioning(prompts.tokens, prompts.mask, prompts.pooled[:, :0])

    @property
    def plain_model(self) -> Denoiser:
        """Return the model without Accelerate's wrapping."""
        model: Denoiser = self.accelerator.unwrap_model(self.model)
        return model

    def checkpoint_path(self) -> Path:
        """Return `checkpoint_epoch_N` at the end of an epoch, `checkpoint_step_N` within one."""
        epoch, place = divmod(self.step, self.plan.steps_per_epoch)
        return self.folder / (f"checkpoint_step_{self.step}" if place else f"checkpoint_epoch_{epoch}")

    def save(self) -> None:
        """Begin to write a checkpoint; those it supersedes go when it is complete. `saved` must have given the last."""
        path = self.checkpoint_path()
        info = self._info()
        model = self.plain_model
        files = self._weights(model) | {OPTIMIZER: optimizer_tensors(model, self.optimizer)}
        if is_sharded(model):
            files = gathered(files, is_kept=self.accelerator.is_main_process)
        if not self.accelerator.is_main_process:
            self.checkpoint = Checkpoint(path, info)
            return
        if self.tricks.power_averages is not None:  # before the checkpoint, which a run goes on from with them
            self.tricks.power_averages.keep(self.folder, self.step)
        header = None if self.adapter is None else self.adapter.header()
        spec = self.spec
        keep = partial(remove_superseded, keep_last=spec.keep_last, keep_best=spec.keep_best, by=spec.keep_best_by)
        self.saver.begin(path, files, info, then=lambda: keep(self.folder), header=header)

    def _weights(self, model: Denoiser) -> dict[str, dict[str, Tensor]]:
        """Weights and averages by file; of an adapter without those that it lies beside."""
        if self.adapter is None:
            return {MODEL: model.state_dict(), EMA_FILE: model.state_dict() | self.ema.state_dict()}
        return {MODEL: dict(self.adapter.parameters()), EMA_FILE: self.adapter.named(self.ema.averages)}

    def saved(self, *, wait: bool) -> Checkpoint | None:
        """Return the checkpoint that `save` began, once, as soon as it is complete. Raises what writing it raised."""
        checkpoint = self.saver.result(wait=wait)
        self.checkpoint = checkpoint or self.checkpoint
        return checkpoint

    def _info(self) -> dict[str, Any]:
        sampler = self.objective.sampler
        model = self.plain_model
        scaler = self.accelerator.scaler
        return {
            "format": CHECKPOINT_FORMAT,
            "step": self.step,
            "epoch": self.step // self.plan.steps_per_epoch,
            "steps_per_epoch": self.plan.steps_per_epoch,
            "processes": self.plan.world_size,
            **({"shards_at_once": self.plan.at_once} if self.plan.at_once else {}),
            "held_out_loss": self.held_out_loss,
            **({"score": self.score} if self.score else {}),
            "fps": self.fps,
            "spec": all_values(self.spec),
            "model": denoiser_config(model),
            "sampler": {"class": type(sampler).__name__} | {k: v for k, v in sampler.config.items() if k[0] != "_"},
            "latents": {k: v for k, v in self.store.manifest.items() if k not in ("clips", "files")},
            "text": {k: v for k, v in self.store.text_manifest.items() if k not in ("clips", "files")},
            "job": self.job,
            **({"teacher": self.teacher.stamp} if self.teacher else {}),
            **({"base": self.base.said} if self.base else {}),
            **({"adapter": asdict(self.adapter.settings)} if self.adapter else {}),
            "video_ids": fingerprint(self.store.video_ids),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "versions": {"t2v": __version__, "torch": torch.__version__, "diffusers": diffusers.__version__},
        }


def _one_cycle(step: int, warmup: int, total: int) -> float:
    """Share of the peak: half a cosine from 1/25 up to 1 at step `warmup - 1`, another down to 1/250,000 at the last.

    Source: Smith & Topin 2018; the same values as torch's OneCycleLR.
    """
    first, last, top = 1 / 25, 1 / 25 / 1e4, max(0, warmup - 1)
    if step < top:
        return 1 + (first - 1) * _half_cosine(step / top)
    return last + (1 - last) * _half_cosine((step - top) / max(1, total - 1 - top))


def _half_cosine(progress: float) -> float:
    """1 at 0, 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def fingerprint(video_ids: list[str]) -> str:
    """Return one line that says which clips, and in which order."""
    return hashlib.sha256("\n".join(video_ids).encode()).hexdigest()
