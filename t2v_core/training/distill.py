"""Distillation: a trained flow model becomes a flow map, which needs a few passes for a video and no guidance.

The teacher goes from noise to data, guidance included, and the student learns to go in one pass from any point of that
path to any later one: to answer with u(x_t, t, r) = (x_t − x_r) / (t − r), the mean velocity between the two. So its
target is never an answer of its own, and it is trained where sampling takes it, which noised clips are not: guidance
leads elsewhere. A path costs the teacher 20 passes and is learned from 16 times, at other points each time.
The identity of Mean Flows, whose target is half the student's own answer, was tried first: its steps take twice the
passes, and 463 of them drew no better (.67 obey all three words) than 536 of these (.63 and .71), both with AdamW.
Source: Luhman & Luhman 2021, eq. 4, with any two points of a path for its ends; Geng et al. 2025 (Mean Flows), eq. 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from t2v_core.data.store.batches import Batch, drop_captions, generator_for
from t2v_core.diffusion.schedules import TRAIN_TIMESTEPS
from t2v_core.job import Job
from t2v_core.models.conditioning import Conditioning
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.distillation.paths import Paths, Spans, wide
from t2v_core.training.distillation.teacher import Teacher
from t2v_core.training.run import TrainingRun
from t2v_core.training.trainer import Trainer

# The captions of so many steps make the paths that are learned from together, and each path is used so often. With a
# quarter of the paths at a time the held-out loss leapt up and down.
BATCHES, USES = 16, 16
# An error weighs less, the larger it is: (e + c)^-p of Geng et al. 2025, §4.3, with p = 1/2.
WEIGHT_OFFSET = 1e-3


class Distiller(Trainer):
    """Trains a flow map in the steps of every training; only what is learned differs."""

    def __init__(self, run: TrainingRun, job: Job, callbacks: Sequence[Callback] = ()) -> None:
        super().__init__(run, job, callbacks)
        self._paths: dict[int, tuple[int, Paths]] = {}

    def _loss(self, batch: Batch, number: int) -> Tensor:
        paths, device = self._paths_of(number), self.accelerator.device
        generator = generator_for(self.spec.seed, "spans", self.run.step, number, 0)
        count = len(batch.latents)
        clips = torch.randint(len(paths.names), (count,), generator=generator).to(device)
        spans = Spans.drawn(count, generator)
        begin, end = spans.begin.to(device), spans.end.to(device)
        x = paths.at(clips, begin)
        target = (x - paths.at(clips, end)) / wide(begin - end, x)
        answer = _mean_velocity(self.run.model, x, begin, end, paths.prompts_of(clips))
        errors = (answer.float() - target).square().flatten(1).mean(1)
        return (errors / (errors.detach() + WEIGHT_OFFSET).sqrt()).mean()

    def _paths_of(self, number: int) -> Paths:
        """Those that forward pass `number` of a step learns from in this stretch of steps.

        They follow from the seed, the step and the number, so that nothing need be saved.
        """
        stretch = self.run.step // (BATCHES * USES)
        if number not in self._paths or self._paths[number][0] != stretch:
            self._paths.pop(number, None)  # two may be more than the device holds
            self._paths[number] = stretch, self._travelled(stretch * BATCHES * USES, number)
        return self._paths[number][1]

    def _travelled(self, step: int, number: int) -> Paths:
        """Let the teacher go the paths of the captions that this pass of `step` and the next ones has."""
        run = self.run
        rows = [row for later in range(BATCHES) for row in run.plan.rows(step + later, number)]
        batch = self._read(rows, run.plan.epoch_of(step))
        noise = torch.randn(batch.latents.shape, generator=generator_for(self.spec.seed, "noise", step, number))
        prompts, null = self._with_null(run.fit(batch.prompts))
        with self.accelerator.autocast():
            return Paths.of(self._teacher, noise.to(self.accelerator.device), prompts, null, batch.video_ids)

    def error(
        self, model: nn.Module, latents: Tensor, noise: Tensor, timesteps: Tensor, prompts: Conditioning
    ) -> Tensor:
        """Return how far one pass from (batch,) timesteps to the data ends from where the teacher's path does.

        The path is that of the noise; what it leads to is the teacher's, so the latents are not asked.
        """
        noise, begin = noise.to(self.accelerator.device), (timesteps / TRAIN_TIMESTEPS).to(self.accelerator.device)
        paths = Paths.of(self._teacher, noise, *self._with_null(prompts), ())
        clips, end = torch.arange(len(noise), device=noise.device), torch.zeros_like(begin)
        x = paths.at(clips, begin)
        answer = x - wide(begin, x) * _mean_velocity(model, x, begin, end, paths.prompts)
        return (answer - paths.at(clips, end)).square().mean()

    def _clips_here(self) -> list[str]:
        return [name for _, paths in self._paths.values() for name in paths.names]

    @property
    def _teacher(self) -> Teacher:
        assert self.run.teacher is not None  # a run without one is an ordinary Trainer's
        return self.run.teacher

    def _with_null(self, prompts: Conditioning) -> tuple[Conditioning, Conditioning]:
        """The prompts and as many null prompts, of one length, on the device."""
        count = len(prompts.tokens)
        both = [drop_captions(prompts, self.null, torch.full((count,), dropped)) for dropped in (False, True)]
        kept, dropped = (one.to(self.accelerator.device, torch.float32) for one in both)
        return kept, dropped


def _mean_velocity(model: nn.Module, x: Tensor, begin: Tensor, end: Tensor, prompts: Conditioning) -> Tensor:
    times = torch.stack([begin, end], dim=-1) * TRAIN_TIMESTEPS
    answer: Tensor = model(x, times, prompts.tokens, prompts.mask, prompts.pooled)
    return answer
