"""Distances between sets of videos: of Gaussians whose distance is known, and as a matrix root gives it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from t2v_core.scores.distances import frechet_distance, interval, polynomial_mmd


def drawn(count: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def exactly(mean: Tensor, root: Tensor, count: int) -> Tensor:
    """Rows whose mean and covariance are these to the last bit but rounding."""
    rows = drawn(count, len(mean), seed=len(mean) + count)
    rows = rows - rows.mean(0)
    covariance = torch.cov(rows.T).reshape(len(mean), len(mean))
    rows = rows @ torch.linalg.inv(torch.linalg.cholesky(covariance).T)
    return mean + rows @ root.T


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_the_distance_of_gaussians_is_that_of_the_formula(dim: int) -> None:
    """Of diagonal covariances it is the distance of the means and of the standard deviations."""
    means, deviations = drawn(2, dim), drawn(2, dim, seed=1).abs() + 0.1
    ours, theirs = (exactly(means[i], torch.diag(deviations[i]), 100 + 50 * i) for i in range(2))
    known = float((means[0] - means[1]).square().sum() + (deviations[0] - deviations[1]).square().sum())
    assert frechet_distance(ours, theirs) == pytest.approx(known, abs=1e-6, rel=1e-9)


@given(ours=st.integers(2, 40), theirs=st.integers(2, 40), dim=st.integers(1, 60), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_it_is_what_the_root_of_the_covariances_gives(ours: int, theirs: int, dim: int, seed: int) -> None:
    """The usual way: trace of the root of C₁ · C₂, by its eigenvalues; also with fewer videos than dimensions."""
    one, other = drawn(ours, dim, seed), 1.5 * drawn(theirs, dim, seed + 100) + 0.3
    first, second = (torch.cov(rows.T).reshape(dim, dim) for rows in (one, other))
    root = torch.linalg.eigvals(first @ second).real.clamp_min(0).sqrt().sum()
    usual = (one.mean(0) - other.mean(0)).square().sum() + first.trace() + second.trace() - 2 * root
    assert frechet_distance(one, other) == pytest.approx(float(usual), abs=1e-4, rel=1e-5)


def test_a_set_is_no_distance_from_itself_and_the_same_there_and_back() -> None:
    one, other = drawn(30, 8), drawn(20, 8, seed=3)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    for distance in (frechet_distance, polynomial_mmd):
        assert distance(one, other) == pytest.approx(distance(other, one))


def test_the_discrepancy_is_the_sum_over_all_pairs() -> None:
    one, other = drawn(7, 5), drawn(4, 5, seed=2) + 1

    def kernel(x: Tensor, y: Tensor) -> float:
        return float((x @ y / 5) ** 2)

    def within(rows: Tensor) -> float:
        pairs = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    between = sum(kernel(a, b) for a in one for b in other) / 28
    assert polynomial_mmd(one, other) == pytest.approx(100 * (within(one) + within(other) - 2 * between))


def test_an_interval_holds_the_distance_is_the_same_again_and_narrower_with_more_videos() -> None:
    widths = []
    for count in (20, 160):
        one, other = drawn(count, 4), drawn(count, 4, seed=9) + 0.5
        low, high = interval(frechet_distance, one, other)
        assert (low, high) == interval(frechet_distance, one, other)
        assert low < frechet_distance(one, other) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
