"""Gaussian data N(MEAN, STD²): what a perfect model says of it, and the exact path from noise to it, in closed form."""

from __future__ import annotations

import functools
import math

from torch import Tensor

from t2v_core.diffusion.schedules import Sampler

MEAN, STD = 1.7, 0.4


@functools.cache
def ddpm_levels(*, ends_in_noise: bool = False) -> list[tuple[float, float]]:
    """√ᾱ and √(1−ᾱ) of Stable Diffusion's 1000 timesteps, multiplied up one by one."""
    low, high, product, signals = math.sqrt(0.00085), math.sqrt(0.012), 1.0, []
    for t in range(1000):
        product *= 1 - (low + (high - low) * t / 999) ** 2
        signals.append(math.sqrt(product))
    if ends_in_noise:
        first, last = signals[0], signals[-1]
        signals = [(signal - last) * first / (first - last) for signal in signals]
    return [(signal, math.sqrt(1 - signal**2)) for signal in signals]


def levels_of(sampler: Sampler) -> list[tuple[float, float]]:
    """Signal and sigma at each timestep of its list, reckoned here."""
    if sampler.prediction == "flow":
        return [(1 - t / 1000, t / 1000) for t in sampler.timesteps.tolist()]
    levels = ddpm_levels(ends_in_noise=sampler.config.zero_terminal_snr)
    return [levels[int(t)] for t in sampler.timesteps.tolist()]


def exact_prediction(kind: str, x: Tensor, signal: float, sigma: float) -> Tensor:
    """What a perfect model says at x = signal · data + sigma · noise."""
    variance = (signal * STD) ** 2 + sigma**2
    noise = sigma * (x - signal * MEAN) / variance
    clean = MEAN + signal * STD**2 * (x - signal * MEAN) / variance
    return {"epsilon": noise, "v": signal * noise - sigma * clean, "flow": noise - clean}[kind]


def on_the_path(z: Tensor, signal: float, sigma: float) -> Tensor:
    """Where the probability-flow ODE through MEAN + STD · z stands at this noise level."""
    return signal * MEAN + math.sqrt((signal * STD) ** 2 + sigma**2) * z


def walk(sampler: Sampler, x: Tensor) -> list[Tensor]:
    """Where a perfect model leads from x, after every step."""
    places = []
    for index, (signal, sigma) in enumerate(levels_of(sampler)):
        x = sampler.step(exact_prediction(sampler.prediction, x, signal, sigma), index, x)
        places.append(x)
    return places
