"""Averages of any length after the training: two are kept while it runs, and any other is made of their snapshots.

A power average weighs the weights of step τ of t by τ^γ, so its length is a share of the training however long that
is: σ, its standard deviation over t.
Source: Karras et al. 2024 (Analyzing and Improving the Training Dynamics of Diffusion Models), §3.1.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from t2v_core.disk.files import staged_file
from t2v_core.disk.tensor_file import write_tensors
from t2v_core.errors import InvalidRequest
from t2v_core.training.trained import trained
from t2v_core.training.tricks.profiles import gamma_of

LENGTHS = (0.05, 0.10)
FOLDER, NAME = "averages", re.compile(r"step_(\d+)\.safetensors$")


class PowerAverages:
    """Two averages of the parameters that are trained, float32 on their device."""

    def __init__(self, model: nn.Module) -> None:
        self.names = list(trained(model))
        self.averages = {one: [p.detach().float().clone() for p in trained(model).values()] for one in LENGTHS}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after optimiser step number `step`, counted from 0."""
        current = [p.detach().float() for p in trained(model).values()]
        for length, average in self.averages.items():
            torch._foreach_lerp_(average, current, 1 - (1 - 1 / (step + 1)) ** (gamma_of(length) + 1))

    def keep(self, checkpoints: Path, step: int) -> None:
        """Write a snapshot beside the checkpoints."""
        named = {f"{one}/{n}": t for one, all_ in self.averages.items() for n, t in zip(self.names, all_, strict=True)}
        with staged_file(file_of(checkpoints, step)) as partial:
            write_tensors(partial, named)

    def load(self, checkpoints: Path, step: int) -> None:
        """Go on from a snapshot. Raises InvalidRequest when it is not there."""
        if not (file := file_of(checkpoints, step)).is_file():
            raise InvalidRequest(f"there is no {file}, and the averages go on from it", hint="restore a copy of it")
        saved = load_file(file)
        for length, average in self.averages.items():
            for name, tensor in zip(self.names, average, strict=True):
                tensor.copy_(saved[f"{length}/{name}"])


def snapshots(checkpoints: Path) -> list[int]:
    """Return the steps of which there are snapshots, in no order."""
    return [int(m[1]) for file in (checkpoints / FOLDER).glob("*") if (m := NAME.match(file.name))]


def file_of(checkpoints: Path, step: int) -> Path:
    """Return where the snapshot of a step lies."""
    return checkpoints / FOLDER / f"step_{step}.safetensors"
