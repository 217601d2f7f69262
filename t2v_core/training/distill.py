"""Distillation: a trained flow model becomes a flow map, which needs a few passes for a video and no guidance.

With u(x_t, t, r) the mean velocity from time t down to r along the guided flow, (t − r) · u is the way between the two.
Its derivative along the flow is the flow's velocity (MeanFlow's identity), which is taken here as a central difference
over a short stretch t … s around its middle m:

    (t − r) · u(x_t, t, r) = (t − s) · v(x_m, m) + (s − r) · u(x_s, s, r)

The right side needs no derivative of the network, and no attention without one: v is the teacher's, guidance included,
and u the student's own answer from the nearer end, without a gradient. One network is trained, and none judges it.
Source: Geng et al. 2025 (Mean Flows), eq. 6; Boffi et al. 2024 (Flow Map Matching), §3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from t2v_core.data.store.batches import Batch, drop_captions, generator_for
from t2v_core.diffusion.schedules import TRAIN_TIMESTEPS
from t2v_core.models.conditioning import Conditioning
from t2v_core.training.teacher import Teacher
from t2v_core.training.trainer import Trainer

# Shares of the clips: that begin in pure noise, as sampling does; that go all the way; that only learn the velocity.
FROM_NOISE, TO_DATA, NOWHERE = 0.2, 0.3, 0.1
EARLIEST = 0.02
# Lengths of the stretch; shorter ones say the same in more hops. With a derivative over 0.005, and the identity solved
# for u at one end, errors were 25 after 100 steps on the built-in world; so they were 0.1.
SHORTEST, LONGEST = 0.05, 0.15
HELD_OUT_STEPS = 8
# An error weighs less, the larger it is: (e + c)^-p of Geng et al. 2025, §4.3, with p = 1/2.
WEIGHT_OFFSET = 1e-3


@dataclass(frozen=True)
class Spans:
    """Where each clip's map begins and ends, and where the stretch that is taken from the teacher does, (batch,) each.

    1 is pure noise, 0 is clean; end ≤ near < begin, or all three are the same
    """

    begin: Tensor
    near: Tensor
    end: Tensor

    @classmethod
    def drawn(cls, count: int, generator: Generator) -> Spans:
        """Draw those of a training step."""
        begin = EARLIEST + (1 - EARLIEST) * torch.rand(count, generator=generator)
        begin = begin.where(torch.rand(count, generator=generator) >= FROM_NOISE, 1.0)
        end = begin * torch.rand(count, generator=generator)
        chosen = torch.rand(count, generator=generator)
        end = end.where(chosen >= TO_DATA, 0.0).where(chosen < 1 - NOWHERE, begin)
        stretch = SHORTEST + (LONGEST - SHORTEST) * torch.rand(count, generator=generator)
        return cls(begin, torch.maximum(begin - stretch, end), end)

    def to(self, device: torch.device) -> Spans:
        """Return them on a device."""
        return Spans(self.begin.to(device), self.near.to(device), self.end.to(device))


class Distiller(Trainer):
    """Trains a flow map in the steps of every training; only what is learned differs."""

    def _loss(self, batch: Batch, number: int) -> Tensor:
        generator = generator_for(self.spec.seed, "noise", self.run.step, number, 0)
        noise = torch.randn(batch.latents.shape, generator=generator)
        spans = Spans.drawn(len(batch.latents), generator)
        errors = self._errors(self.run.model, batch.latents, noise, spans, self.run.fit(batch.prompts))
        return (errors / (errors.detach() + WEIGHT_OFFSET).sqrt()).mean()

    def error(
        self, model: nn.Module, latents: Tensor, noise: Tensor, timesteps: Tensor, prompts: Conditioning
    ) -> Tensor:
        """Return how far one pass from (batch,) timesteps to the data ends from where the teacher gets in 8 steps.

        The loss of training is no measure: it compares answers with each other, and those of no training agree best.
        """
        device, begin = self.accelerator.device, timesteps / TRAIN_TIMESTEPS
        x = self.run.objective.sampler.add_noise(latents, noise, timesteps).to(device)
        begin, (prompts, null) = begin.to(device), self._with_null(prompts)
        answer = x - _wide(begin, x) * _mean_velocity(model, x, begin, torch.zeros_like(begin), prompts)
        for number in range(HELD_OUT_STEPS):
            at = begin * (1 - number / HELD_OUT_STEPS)
            x = x - _wide(begin / HELD_OUT_STEPS, x) * self._teacher.velocity(x, at, prompts, null)
        return (answer - x).square().mean()

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

    def _errors(self, model: nn.Module, latents: Tensor, noise: Tensor, spans: Spans, prompts: Conditioning) -> Tensor:
        """Of each clip, (batch,). model: the student, as it is or wrapped; all else on the CPU"""
        device = self.accelerator.device
        x = self.run.objective.sampler.add_noise(latents, noise, spans.begin * TRAIN_TIMESTEPS).to(device)
        spans, (prompts, null) = spans.to(device), self._with_null(prompts)
        with torch.no_grad(), self.accelerator.autocast():
            target = self._target(model, x, spans, prompts, null)
        answer = _mean_velocity(model, x, spans.begin, spans.end, prompts)
        return (answer.float() - target).square().flatten(1).mean(1)

    def _target(self, model: nn.Module, x: Tensor, spans: Spans, prompts: Conditioning, null: Conditioning) -> Tensor:
        """The right side of the identity, over t − r."""
        teacher, begin, near, end = self._teacher, spans.begin, spans.near, spans.end
        middle = (begin + near) / 2
        half_way = x - _wide(begin - middle, x) * teacher.velocity(x, begin, prompts, null)
        velocity = teacher.velocity(half_way, middle, prompts, null)
        rest = _mean_velocity(model, x - _wide(begin - near, x) * velocity, near, end, prompts).float()
        # Where it goes nowhere both parts are of length 0, and the velocity is all there is to learn.
        share = torch.where(begin > end, (begin - near) / (begin - end).clamp(min=1e-6), 1.0)
        return _wide(share, x) * velocity + _wide(1 - share, x) * rest


def _mean_velocity(model: nn.Module, x: Tensor, begin: Tensor, end: Tensor, prompts: Conditioning) -> Tensor:
    times = torch.stack([begin, end], dim=-1) * TRAIN_TIMESTEPS
    answer: Tensor = model(x, times, prompts.tokens, prompts.mask, prompts.pooled)
    return answer


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """(batch,) so that it multiplies clips."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
