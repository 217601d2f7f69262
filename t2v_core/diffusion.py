"""What the model is trained to predict: epsilon and v on DDPM's noise schedule, and flow matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from t2v_core.samplers import DDIMSampler, FlowEulerSampler

Sampler = DDIMSampler | FlowEulerSampler


class Objective(Protocol):
    """One way to noise a clip and to say what the model should answer. `sampler` is its way back."""

    @property
    def sampler(self) -> Sampler:
        """The noise schedule, and the way back along it."""

    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        """(count,) float timesteps in 0 … 1000, on the generator's device."""

    def quantile_timesteps(self, count: int) -> Tensor:
        """(count,) timesteps spread evenly over those that are drawn: for a loss that can be compared."""

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the model should answer for `sampler.add_noise(latents, noise, timesteps)`."""


@dataclass(frozen=True)
class DDPMObjective:
    """Predict the noise (Ho et al. 2020, eq. 14) or v = √ᾱ·noise − √(1−ᾱ)·latents (Salimans & Ho 2022, §4)."""

    sampler: DDIMSampler

    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        return torch.randint(1000, (count,), generator=generator).float()

    def quantile_timesteps(self, count: int) -> Tensor:
        return _midpoints(count).mul(1000).floor()

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.sampler.prediction == "epsilon":
            return noise
        signal, sigma = self.sampler.signal_and_sigma(timesteps, like=latents)
        return signal * noise - sigma * latents


@dataclass(frozen=True)
class FlowObjective:
    """Predict the velocity noise − latents of a straight path, with timesteps drawn logit-normally.

    Source: Esser et al. 2024, eq. 13 and §3.1.
    """

    sampler: FlowEulerSampler
    logit_mean: float = 0.0
    logit_std: float = 1.0

    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        normal = torch.randn(count, generator=generator)
        return torch.sigmoid(self.logit_mean + self.logit_std * normal) * 1000

    def quantile_timesteps(self, count: int) -> Tensor:
        return torch.sigmoid(self.logit_mean + self.logit_std * torch.special.ndtri(_midpoints(count))) * 1000

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:  # noqa: ARG002 - the same at all t
        return noise - latents


def _midpoints(count: int) -> Tensor:
    return (torch.arange(count) + 0.5) / count


def make_objective(name: str, *, timestep_logit_mean: float = 0.0) -> Objective:
    """`epsilon`, `v` or `flow`, each with the sampler that undoes it.

    timestep_logit_mean: of the timesteps that flow draws
    """
    if name == "flow":
        return FlowObjective(FlowEulerSampler(), timestep_logit_mean)
    return DDPMObjective(DDIMSampler(prediction=name))
