"""From noise to latents: DDIM and Euler. Each is the schedule that training used, saved with the checkpoint.

A sampler is prepared for a number of steps and then stepped by the *index* into its list of timesteps. diffusers' DDIM
computes the previous timestep as t − 1000 // N instead, which is another list for linspace spacing and, with trailing
spacing, for every N that does not divide 1000.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Generator, Tensor

from t2v_core.errors import AskedWrongly

TRAIN_TIMESTEPS = 1000


class _Sampler(SchedulerMixin, ConfigMixin):
    """What both samplers share: a list of timesteps, and where a partial run enters it."""

    timesteps: Tensor

    @staticmethod
    def _require_possible(steps: int) -> None:
        """There are 1000 timesteps to choose from. Raises AskedWrongly for none, and for more."""
        if not 1 <= steps <= TRAIN_TIMESTEPS:
            raise AskedWrongly(f"{steps} steps were asked for, and there can be between 1 and {TRAIN_TIMESTEPS}")

    def skip_to(self, strength: float) -> int:
        """Index of the first step when only the last `strength` share of the steps is taken (SDEdit).

        strength 0.3 of 50 steps takes 15. Source: Meng et al. 2021, algorithm 1.
        Raises AskedWrongly outside 0 … 1, and when not one step is left.
        """
        if not 0 <= strength <= 1:
            raise AskedWrongly(f"strength is {strength:g}, and must lie between 0 and 1")
        total = len(self.timesteps)
        taken = min(int(round(total * strength, 9)), total)  # 100 · 0.29 is 28.999999999999996
        if taken == 0:
            raise AskedWrongly(
                f"strength {strength:g} of {total} steps is less than one step",
                hint=f"use a strength of at least {1 / total:.2g}, or more steps",
            )
        return total - taken


class DDIMSampler(_Sampler):
    """Deterministic DDIM on DDPM's noise schedule; x̂₀ is never clipped, as latents have no bounds.

    prediction: `epsilon` or `v`, what the model answers
    spacing: `trailing` (999 first), `leading` or `linspace`: Lin et al. 2023, table 2
    Source: Song et al. 2021, eq. 12 with σ = 0. Defaults are Stable Diffusion's (scaled_linear).
    """

    @register_to_config
    def __init__(
        self,
        prediction: str = "epsilon",
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        spacing: str = "trailing",  # noqa: ARG002 - kept in `config`
    ) -> None:
        self.prediction = prediction
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, TRAIN_TIMESTEPS, dtype=torch.float64) ** 2
        self.alphas_cumprod = torch.cumprod(1 - betas, 0)
        self.timesteps = torch.empty(0)

    def set_timesteps(self, steps: int) -> None:
        """Choose `steps` of the 1000 timesteps, from the noisiest down. Raises AskedWrongly outside 1 … 1000."""
        self._require_possible(steps)
        config: Any = self.config
        if config.spacing == "trailing":
            chosen = torch.arange(TRAIN_TIMESTEPS, 0, -TRAIN_TIMESTEPS / steps, dtype=torch.float64).round() - 1
        elif config.spacing == "leading":
            chosen = (torch.arange(steps) * (TRAIN_TIMESTEPS // steps)).flip(0)
        else:
            chosen = torch.linspace(TRAIN_TIMESTEPS - 1, 0, steps, dtype=torch.float64).round()
        self.timesteps = chosen[:steps].float()

    def signal_and_sigma(self, timesteps: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1−ᾱ) at (batch,) timesteps, shaped and typed to multiply `like`."""
        alphas = self.alphas_cumprod[timesteps.long().cpu()].reshape(-1, *[1] * (like.dim() - 1))
        return alphas.sqrt().to(like), (1 - alphas).sqrt().to(like)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """√ᾱ·latents + √(1−ᾱ)·noise. latents, noise: (batch, …); timesteps: (batch,). Source: Ho et al. 2020, eq. 4."""
        signal, sigma = self.signal_and_sigma(timesteps, like=latents)
        return signal * latents + sigma * noise

    def step(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """From the noise level of timestep `index` of the list to the next one; after the last there is no noise."""
        signal, sigma = self.signal_and_sigma(self.timesteps[index : index + 1], like=sample)
        if self.prediction == "epsilon":
            clean, noise = (sample - sigma * prediction) / signal, prediction
        else:
            clean, noise = signal * sample - sigma * prediction, sigma * sample + signal * prediction
        if index + 1 == len(self.timesteps):
            return clean
        signal, sigma = self.signal_and_sigma(self.timesteps[index + 1 : index + 2], like=sample)
        return signal * clean + sigma * noise


class FlowEulerSampler(_Sampler):
    """Euler's method on the straight path from noise to latents; the timestep is 1000 · σ.

    Source: Esser et al. 2024, eq. 13; Liu et al. 2022, algorithm 1.
    """

    prediction = "flow"

    @register_to_config
    def __init__(self) -> None:
        self.timesteps = torch.empty(0)

    def set_timesteps(self, steps: int) -> None:
        """Even steps of σ from 1 down to 1 / steps; the last step goes to 0. Raises AskedWrongly outside 1 … 1000."""
        self._require_possible(steps)
        self.timesteps = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1].float() * TRAIN_TIMESTEPS

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """(1 − σ)·latents + σ·noise. latents, noise: (batch, …); timesteps: (batch,)."""
        sigma = (timesteps / TRAIN_TIMESTEPS).reshape(-1, *[1] * (latents.dim() - 1)).to(latents)
        return (1 - sigma) * latents + sigma * noise

    def step(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """From σ of timestep `index` of the list to the next one, along the predicted velocity."""
        following = self.timesteps[index + 1] if index + 1 < len(self.timesteps) else self.timesteps.new_zeros(())
        change = (following - self.timesteps[index]) / TRAIN_TIMESTEPS
        return sample + change.to(sample) * prediction


SAMPLERS = {"DDIMSampler": DDIMSampler, "FlowEulerSampler": FlowEulerSampler}


def randn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Noise that is the same on every device: drawn on the CPU, float32."""
    return torch.randn(shape, generator=Generator().manual_seed(seed))
