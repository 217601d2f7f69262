"""Paths of a trained flow model from noise to data: what a distillation learns from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from t2v_core.diffusion.samplers import FlowDPMSolverSampler
from t2v_core.diffusion.schedules import TRAIN_TIMESTEPS
from t2v_core.models.conditioning import Conditioning
from t2v_core.training.distillation.teacher import Teacher

# Steps of DPM-Solver++ that the teacher takes for a path; 8 draw as well as 20 of Euler's.
PATH_STEPS = 10
MOST_PASSES = 16.0


@dataclass(frozen=True)
class Paths:
    """Where clips are at a few times on their way, and how fast; between them a cubic says it.

    sigmas: (points,) from 1, noise, down to 0, data
    places, velocities: (points, clips, frames, channels, height, width) float32
    prompts: (clips, …), those that lead there
    names: what the clips are called whose captions these are
    """

    sigmas: Tensor
    places: Tensor
    velocities: Tensor
    prompts: Conditioning
    names: tuple[str, ...]

    @classmethod
    @torch.no_grad()
    def of(
        cls, teacher: Teacher, noise: Tensor, prompts: Conditioning, null: Conditioning, names: tuple[str, ...]
    ) -> Paths:
        """Let the teacher, with its guidance, go from noise to data; all of it lies on one device.

        noise: (clips, frames, channels, height, width); prompts, null: (clips, …)
        """
        sampler = FlowDPMSolverSampler()
        sampler.set_timesteps(PATH_STEPS)
        sigmas = (sampler.timesteps / TRAIN_TIMESTEPS).to(noise.device)
        x, places, velocities = noise, [], []
        for index, sigma in enumerate(sigmas):
            velocity = teacher.velocity(x, sigma.expand(len(x)), prompts, null)
            places.append(x)
            velocities.append(velocity)
            x = sampler.step(velocity, index, x)
        # At the end nobody asks: it is 0.012 from where the teacher was asked last.
        places.append(x)
        velocities.append(velocities[-1])
        ends = torch.cat([sigmas, sigmas.new_zeros(1)])
        return cls(ends, torch.stack(places), torch.stack(velocities), prompts, names)

    def at(self, clips: Tensor, sigmas: Tensor) -> Tensor:
        """Return where clips number `clips` are at `sigmas`, both (batch,): Hermite's cubic between two points."""
        after = torch.searchsorted(-self.sigmas, -sigmas).clamp(1, len(self.sigmas) - 1)
        begin, end = self.sigmas[after - 1], self.sigmas[after]
        length, s = wide(end - begin, self.places[0]), wide((sigmas - begin) / (end - begin), self.places[0])
        return (
            (1 + 2 * s) * (1 - s) ** 2 * self.places[after - 1, clips]
            + s * (1 - s) ** 2 * length * self.velocities[after - 1, clips]
            + s**2 * (3 - 2 * s) * self.places[after, clips]
            + s**2 * (s - 1) * length * self.velocities[after, clips]
        )

    def prompts_of(self, clips: Tensor) -> Conditioning:
        """Return the prompts of clips number `clips`, (batch,)."""
        return Conditioning(self.prompts.tokens[clips], self.prompts.mask[clips], self.prompts.pooled[clips])


@dataclass(frozen=True)
class Spans:
    """From where to where a pass goes, (batch,) each: 1 is noise, 0 is data, end < begin."""

    begin: Tensor
    end: Tensor

    @classmethod
    def drawn(cls, count: int, generator: Generator) -> Spans:
        """Draw those of a training step: any pass of a video in 1 to 16 passes, fewer ones more often."""
        passes = (MOST_PASSES ** torch.rand(count, generator=generator)).round()
        number = (passes * torch.rand(count, generator=generator)).floor()
        begin = 1 - number / passes
        return cls(begin, (begin - 1 / passes).clamp(min=0))


def wide(values: Tensor, like: Tensor) -> Tensor:
    """Shape (batch,) so that it multiplies clips."""
    return values.reshape(-1, *[1] * (like.dim() - 1))
