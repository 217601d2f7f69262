"""What a power average weighs the steps of a training by, and which others it can be made of.

Source: Karras et al. 2024 (Analyzing and Improving the Training Dynamics of Diffusion Models), §3.2, appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch


def proportions(kept: Sequence[tuple[int, float]], wanted: tuple[int, float]) -> list[float]:
    """Return how much of each kept profile, (step, γ), gives the wanted one, by least squares over all steps."""
    matrix = torch.tensor([[_overlap(a, b) for b in kept] for a in kept], dtype=torch.float64)
    side = torch.tensor([_overlap(a, wanted) for a in kept], dtype=torch.float64)
    shares: list[float] = torch.linalg.lstsq(matrix, side[:, None], driver="gelsd").solution[:, 0].tolist()
    return shares


def _overlap(a: tuple[int, float], b: tuple[int, float]) -> float:
    """The integral of the product of two profiles, (γ + 1) τ^γ / t^(γ + 1) each up to its own t."""
    (t, gamma), (later, other) = sorted((a, b))
    return (gamma + 1) * (other + 1) / (gamma + other + 1) / later * (t / later) ** other


@cache
def gamma_of(length: float) -> float:
    """Return the γ whose profile has the standard deviation `length`, of 0.005 … 0.28, as a share of the training."""
    low, high = 0.0, 1000.0
    for _ in range(100):
        gamma = (low + high) / 2
        is_longer = (gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)) > length**2
        low, high = (gamma, high) if is_longer else (low, gamma)
    return gamma
