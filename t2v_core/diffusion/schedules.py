"""How latents are noised, and what an answer of the model says about them: DDPM's schedule, and the straight path.

A schedule is prepared for a number of steps and then asked by the *index* into its list of timesteps. diffusers' DDIM
computes the previous timestep as t − 1000 // N instead, which is another list for linspace spacing and, with trailing
spacing, for every N that does not divide 1000.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from t2v_core.errors import InvalidRequest

TRAIN_TIMESTEPS = 1000


class Sampler(SchedulerMixin, ConfigMixin, ABC):
    """A schedule and a way back along it.

    name: what people call the way back
    prediction: what the model answers: `epsilon`, `v` or `flow`
    timesteps: (steps,) float32, from the noisiest down, once `set_timesteps` was called
    """

    name: ClassVar[str]
    prediction: str
    timesteps: Tensor

    @abstractmethod
    def set_timesteps(self, steps: int) -> None:
        """Choose `steps` timesteps, from the noisiest down. Raises InvalidRequest outside 1 … 1000."""

    def model_time(self, index: int) -> Tensor:
        """Return what the model is told of the time at step `index` of the list: a number, or two of a flow map."""
        return self.timesteps[index]

    @abstractmethod
    def level(self, index: int) -> tuple[float, float]:
        """Return the factors of latents and noise at timestep `index` of the list; after the last they are (1, 0)."""

    @abstractmethod
    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noise each clip to its timestep. latents, noise: (batch, …); timesteps: (batch,)."""

    @abstractmethod
    def predict_x0_and_noise(self, prediction: Tensor, index: int, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents and the noise that `sample` is mixed from at timestep `index`, by the model's answer."""

    @abstractmethod
    def step(self, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        """Go from the noise level of timestep `index` of the list to the next one; after the last there is no noise."""

    def restart(self) -> None:
        """Forget the steps taken, if this way back remembers any: the next one begins a run, at any index."""

    def skip_to(self, strength: float) -> int:
        """Return the index of the first step when only the last `strength` share of the steps is taken (SDEdit).

        strength 0.3 of 50 steps takes 15. Source: Meng et al. 2021, algorithm 1.
        Raises InvalidRequest outside 0 … 1, and when not one step is left.
        """
        if not 0 <= strength <= 1:
            raise InvalidRequest(f"strength is {strength:g}, and must lie between 0 and 1")
        total = len(self.timesteps)
        taken = min(int(round(total * strength, 9)), total)  # 100 · 0.29 is 28.999999999999996
        if taken == 0:
            raise InvalidRequest(
                f"strength {strength:g} of {total} steps is less than one step",
                hint=f"use a strength of at least {1 / total:.2g}, or more steps",
            )
        return total - taken


class DDPMSchedule(Sampler):
    """DDPM's variance-preserving schedule with Stable Diffusion's betas (scaled_linear).

    prediction: `epsilon` or `v`, what the model answers
    spacing: `trailing` (999 first), `leading` or `linspace`: Lin et al. 2024, table 2
    zero_terminal_snr: nothing is left of the latents at timestep 999 (Lin et al. 2024, algorithm 1)
    Raises InvalidRequest for zero terminal SNR with epsilon. Source: Ho et al. 2020, eq. 4.
    """

    @register_to_config
    def __init__(
        self,
        prediction: str = "epsilon",
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        spacing: str = "trailing",  # kept in `config`
        zero_terminal_snr: bool = False,
    ) -> None:
        if zero_terminal_snr and prediction == "epsilon":
            raise InvalidRequest(
                "zero terminal SNR does not work with epsilon: predicting the noise where there is nothing but noise "
                "says nothing about the video",
                hint="use --objective v with --zero-terminal-snr",
            )
        self.prediction = prediction
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, TRAIN_TIMESTEPS, dtype=torch.float64) ** 2
        self.alphas_cumprod = torch.cumprod(1 - betas, 0)
        if zero_terminal_snr:
            self.alphas_cumprod = _ending_in_noise(self.alphas_cumprod)
        self.timesteps = torch.empty(0)

    def set_timesteps(self, steps: int) -> None:
        """Choose `steps` whole timesteps by the spacing, from the noisiest down.

        Raises InvalidRequest outside 1 … 1000.
        """
        _require_possible(steps)
        self.restart()
        config: Any = self.config
        if config.spacing == "trailing":
            chosen = torch.arange(TRAIN_TIMESTEPS, 0, -TRAIN_TIMESTEPS / steps, dtype=torch.float64).round() - 1
        elif config.spacing == "leading":
            chosen = (torch.arange(steps) * (TRAIN_TIMESTEPS // steps)).flip(0)
        else:
            chosen = torch.linspace(TRAIN_TIMESTEPS - 1, 0, steps, dtype=torch.float64).round()
        self.timesteps = chosen[:steps].float()

    def level(self, index: int) -> tuple[float, float]:
        """Return (√ᾱ, √(1−ᾱ)) at timestep `index` of the list; after the last it is (1, 0)."""
        if index == len(self.timesteps):
            return 1.0, 0.0
        alpha = float(self.alphas_cumprod[int(self.timesteps[index])])
        return math.sqrt(alpha), math.sqrt(1 - alpha)

    def signal_and_sigma(self, timesteps: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return √ᾱ and √(1−ᾱ) at (batch,) timesteps, shaped and typed to multiply `like`."""
        alphas = self.alphas_cumprod[timesteps.long().cpu()].reshape(-1, *[1] * (like.dim() - 1))
        return alphas.sqrt().to(like), (1 - alphas).sqrt().to(like)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return √ᾱ·latents + √(1−ᾱ)·noise. Source: Ho et al. 2020, eq. 4.

        latents, noise: (batch, …); timesteps: (batch,)
        """
        signal, sigma = self.signal_and_sigma(timesteps, like=latents)
        return signal * latents + sigma * noise

    def predict_x0_and_noise(self, prediction: Tensor, index: int, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return x̂₀ and the noise. Source: Salimans & Ho 2022, appendix D.

        x̂₀ is never clipped, as latents have no bounds.
        """
        signal, sigma = self.level(index)
        if self.prediction == "epsilon":
            return (sample - sigma * prediction) / signal, prediction
        return signal * sample - sigma * prediction, sigma * sample + signal * prediction


class FlowSchedule(Sampler):
    """The straight path (1 − σ)·latents + σ·noise; the timestep is 1000 · σ, and the model answers noise − latents.

    Source: Esser et al. 2024, eq. 13; Liu et al. 2022, eq. 1.
    """

    prediction = "flow"

    @register_to_config
    def __init__(self) -> None:
        self.timesteps = torch.empty(0)

    def set_timesteps(self, steps: int) -> None:
        """Choose even steps of σ from 1 down to 1 / steps; the last step goes to 0.

        Raises InvalidRequest outside 1 … 1000.
        """
        _require_possible(steps)
        self.restart()
        self.timesteps = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1].float() * TRAIN_TIMESTEPS

    def level(self, index: int) -> tuple[float, float]:
        """Return (1 − σ, σ) at timestep `index` of the list; after the last it is (1, 0)."""
        sigma = float(self.timesteps[index]) / TRAIN_TIMESTEPS if index < len(self.timesteps) else 0.0
        return 1 - sigma, sigma

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return (1 − σ)·latents + σ·noise. latents, noise: (batch, …); timesteps: (batch,)."""
        sigma = (timesteps / TRAIN_TIMESTEPS).reshape(-1, *[1] * (latents.dim() - 1)).to(latents)
        return (1 - sigma) * latents + sigma * noise

    def predict_x0_and_noise(self, prediction: Tensor, index: int, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents, sample − σ·prediction, and the noise, sample + (1 − σ)·prediction."""
        signal, sigma = self.level(index)
        return sample - sigma * prediction, sample + signal * prediction


def _require_possible(steps: int) -> None:
    """There are 1000 timesteps to choose from. Raises InvalidRequest for none, and for more."""
    if not 1 <= steps <= TRAIN_TIMESTEPS:
        raise InvalidRequest(f"{steps} steps were asked for, and there can be between 1 and {TRAIN_TIMESTEPS}")


def _ending_in_noise(alphas_cumprod: Tensor) -> Tensor:
    """√ᾱ shifted so that the last is 0, and scaled so that the first stays. Source: Lin et al. 2024, algorithm 1."""
    signal = alphas_cumprod.sqrt()
    return ((signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])) ** 2
