"""How far two sets of videos are apart, from one row of features a video."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Distance = Callable[[Tensor, Tensor], float]
RESAMPLES, SHARE = 100, 0.95


def frechet_distance(ours: Tensor, theirs: Tensor) -> float:
    """Return the Fréchet distance of the Gaussians that two sets, (videos, dim) and (videos, dim), are taken for.

    Source: Dowson & Landau 1982, eq. 4; FVD when the features are a video network's (Unterthiner et al. 2018, eq. 2).
    The trace of the root of a product of covariances is the sum of the singular values of centred ours · theirsᵀ: it is
    exact, also for more dimensions than videos, and needs no matrix root.
    """
    one, other = ours.double(), theirs.double()
    apart = (one.mean(0) - other.mean(0)).square().sum()
    one, other = _centred(one), _centred(other)
    root = torch.linalg.svdvals(one @ other.T).sum()
    return max(0.0, float(apart + one.square().sum() + other.square().sum() - 2 * root))


def _centred(features: Tensor) -> Tensor:
    """Rows whose product with themselves is the unbiased covariance."""
    return (features - features.mean(0)) / max(1, len(features) - 1) ** 0.5


def polynomial_mmd(ours: Tensor, theirs: Tensor) -> float:
    """Return 100 times the unbiased squared maximum mean discrepancy with the kernel (x · y / dim)².

    As in JEDi (Luo et al. 2024, §3.3), which takes it of V-JEPA's features. Of two sets that do not differ it may fall
    a little below zero.
    """
    one, other = ours.double(), theirs.double()
    within = _mean_off_diagonal(_kernel(one, one)) + _mean_off_diagonal(_kernel(other, other))
    return float(100 * (within - 2 * _kernel(one, other).mean()))


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.T / one.shape[1]).square()


def _mean_off_diagonal(kernel: Tensor) -> Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / max(1, count * (count - 1))


def interval(distance: Distance, ours: Tensor, theirs: Tensor, *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Return the interval that holds 95 % of the distances of resampled videos, laid around the distance itself.

    Source: Efron 1979. Resampled sets hold some videos twice and are further apart than the sets themselves; without
    that shift the distance would often lie outside. The same every time.
    """
    drawn = torch.Generator().manual_seed(0)
    found = torch.tensor([
        distance(*(rows[torch.randint(len(rows), (len(rows),), generator=drawn)] for rows in (ours, theirs)))
        for _ in range(resamples)
    ])  # fmt: skip
    edge = (1 - SHARE) / 2
    low, middle, high = torch.quantile(found, torch.tensor([edge, 0.5, 1 - edge])).tolist()
    whole = distance(ours, theirs)
    return whole + low - middle, whole + high - middle
