"""What the model is trained to predict, and what errors weigh: epsilon and v on DDPM's schedule, flow matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from t2v_core.diffusion.samplers import DDIMSampler, FlowEulerSampler
from t2v_core.diffusion.schedules import Sampler
from t2v_core.errors import InvalidRequest


class Objective(Protocol):
    """One way to noise a clip and to say what the model should answer. `sampler` is its way back."""

    @property
    def sampler(self) -> Sampler:
        """Return the noise schedule, and the way back along it."""

    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        """Draw (count,) float timesteps in 0 … 1000, on the generator's device."""

    def quantile_timesteps(self, count: int) -> Tensor:
        """Return (count,) timesteps spread evenly over those that are drawn: for a loss that can be compared."""

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return what the model should answer for `sampler.add_noise(latents, noise, timesteps)`."""

    def weights(self, timesteps: Tensor) -> Tensor | None:
        """Return (batch,) float32 weights of each clip's error in training; None where all weigh the same."""


@dataclass(frozen=True)
class DDPMObjective:
    """Predict the noise (Ho et al. 2020, eq. 14) or v = √ᾱ·noise − √(1−ᾱ)·latents (Salimans & Ho 2022, §4).

    min_snr_gamma: γ of min-SNR weights; None weighs all timesteps the same
    """

    sampler: DDIMSampler
    min_snr_gamma: float | None = None

    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        """Draw (count,) whole timesteps in 0 … 999, each as likely as another."""
        return torch.randint(1000, (count,), generator=generator).float()

    def quantile_timesteps(self, count: int) -> Tensor:
        """Return (count,) whole timesteps, evenly spaced over 0 … 999."""
        return _midpoints(count).mul(1000).floor()

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return the noise for epsilon, √ᾱ·noise − √(1−ᾱ)·latents for v; of the latents' shape."""
        if self.sampler.prediction == "epsilon":
            return noise
        signal, sigma = self.sampler.signal_and_sigma(timesteps, like=latents)
        return signal * noise - sigma * latents

    def weights(self, timesteps: Tensor) -> Tensor | None:
        """Return min(SNR, γ) / SNR for epsilon, min(SNR, γ) / (SNR + 1) for v. Source: Hang et al. 2023, §3.4.

        v's would be 0 at SNR 0, the timestep that sampling starts from with zero terminal SNR, and leave it untrained:
        there it is 1, as in diffusers' training scripts.
        """
        if self.min_snr_gamma is None:
            return None
        signal, sigma = self.sampler.signal_and_sigma(timesteps, like=timesteps.double())
        snr = (signal / sigma).square()
        if self.sampler.prediction == "epsilon":
            return (self.min_snr_gamma / snr).clamp(max=1).float()
        weights = snr.clamp(max=self.min_snr_gamma) / (snr + 1)
        return torch.where(snr == 0, 1.0, weights).float()


@dataclass(frozen=True)
class FlowObjective:
    """Predict the velocity noise − latents of a straight path, with timesteps drawn logit-normally.

    shift: of all of them towards noise, as open models have it that are sampled so
    Source: Esser et al. 2024, eq. 13 and 23, §3.1.
    """

    sampler: FlowEulerSampler
    logit_mean: float = 0.0
    logit_std: float = 1.0
    shift: float = 1.0

    def draw_timesteps(self, count: int, generator: Generator) -> Tensor:
        """Draw (count,) timesteps in 0 … 1000, logit-normally."""
        normal = torch.randn(count, generator=generator)
        return self._shifted(torch.sigmoid(self.logit_mean + self.logit_std * normal)) * 1000

    def quantile_timesteps(self, count: int) -> Tensor:
        """Return (count,) timesteps at even quantiles of the logit-normal distribution."""
        middles = torch.sigmoid(self.logit_mean + self.logit_std * torch.special.ndtri(_midpoints(count)))
        return self._shifted(middles) * 1000

    def _shifted(self, sigmas: Tensor) -> Tensor:
        return sigmas if self.shift == 1 else self.shift * sigmas / (1 + (self.shift - 1) * sigmas)

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:  # the same at all t
        """Return noise − latents, the same at every timestep."""
        return noise - latents

    def weights(self, timesteps: Tensor) -> Tensor | None:  # how timesteps are drawn is the weighting
        """Return None: how timesteps are drawn is the weighting."""
        return None


class FlowMapObjective(FlowObjective):
    """Go along that path in passes of any length, as a distilled model does; training has its loss in `distill.py`."""

    def quantile_timesteps(self, count: int) -> Tensor:
        """Return the (count,) timesteps from which as many passes would begin, pure noise among them."""
        return (torch.arange(count) + 1) / count * 1000


def _midpoints(count: int) -> Tensor:
    return (torch.arange(count) + 0.5) / count


def make_objective(
    name: str,
    *,
    timestep_logit_mean: float = 0.0,
    min_snr_gamma: float | None = None,
    zero_terminal_snr: bool = False,
) -> Objective:
    """Make `epsilon`, `v` or `flow`, each with the sampler that undoes it.

    timestep_logit_mean: of the timesteps that flow draws
    min_snr_gamma, zero_terminal_snr: see DDPMObjective and DDPMSchedule
    Raises InvalidRequest for min-SNR weights with flow, and for zero terminal SNR with anything but v.
    """
    if name != "flow":
        return DDPMObjective(DDIMSampler(prediction=name, zero_terminal_snr=zero_terminal_snr), min_snr_gamma)
    if min_snr_gamma is not None:
        raise InvalidRequest(
            "min-SNR weights are for epsilon and v, and flow weighs timesteps by how often it draws them",
            hint="leave --min-snr-gamma out, or use --objective v",
        )
    if zero_terminal_snr:
        raise InvalidRequest(
            "zero terminal SNR is for v, and flow's path ends in pure noise as it is",
            hint="leave --zero-terminal-snr out, or use --objective v",
        )
    return FlowObjective(FlowEulerSampler(), timestep_logit_mean)
