"""How two checkpoints differ, tensor by tensor, without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

# as checkpoints.py has them, which loads torch
FILES = {"weights": "model.safetensors", "averages": "ema.safetensors", "moments": "optimizer.safetensors"}


@dataclass(frozen=True)
class Difference:
    """What differs between the same file of two checkpoints.

    tensors: how many were compared
    differing: names of those that are not the same to the last bit
    largest: difference between two numbers; infinite where shapes differ or only one is NaN
    """

    tensors: int
    differing: tuple[str, ...]
    largest: float


def compare(one: Path, other: Path) -> dict[str, Difference]:
    """Compare weights, averages and moments of two checkpoints."""
    return {what: _compare_files(one / name, other / name) for what, name in FILES.items()}


def _compare_files(one: Path, other: Path) -> Difference:
    with safe_open(one, framework="np") as left, safe_open(other, framework="np") as right:
        names = sorted({*left.keys(), *right.keys()})
        only = {*left.keys()} ^ {*right.keys()}
        gaps = {name: np.inf if name in only else _gap(left.get_tensor(name), right.get_tensor(name)) for name in names}
    differing = tuple(name for name, gap in gaps.items() if gap is not None)
    return Difference(len(names), differing, max((gap for gap in gaps.values() if gap is not None), default=0.0))


def _gap(left: np.ndarray, right: np.ndarray) -> float | None:
    """The largest difference of two tensors; None when they are the same to the last bit."""
    if left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes():
        return None
    if left.shape != right.shape:
        return float(np.inf)
    gaps = np.abs(left.astype(np.float64) - right.astype(np.float64))
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))
