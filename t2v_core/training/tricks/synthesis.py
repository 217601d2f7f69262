"""An average of any length, made of the snapshots of two.

Each snapshot has a known profile: what it weighs the steps by. The profile that is asked for is made of theirs by least
squares, and its weights of theirs in the same proportions.
Source: Karras et al. 2024 (Analyzing and Improving the Training Dynamics of Diffusion Models), §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from t2v_core.checkpoints.checkpoints import EMA, Checkpoint
from t2v_core.errors import InvalidRequest
from t2v_core.training.tricks.power_averages import LENGTHS, file_of, snapshots
from t2v_core.training.tricks.profiles import gamma_of, proportions


@dataclass(frozen=True)
class AveragedOtherwise(Checkpoint):
    """A checkpoint with an average of another length in place of its own."""

    averaged: Mapping[str, Tensor]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one file, as of `Checkpoint`."""
        own = super().tensors(name)
        return own | dict(self.averaged) if name == EMA else own


def averaged_over(checkpoint: Checkpoint, length: float) -> AveragedOtherwise:
    """Return a checkpoint averaged over `length` σ of its training. Raises InvalidRequest without snapshots of it."""
    made = synthesised(checkpoint.path.parent, checkpoint.step, length)
    return AveragedOtherwise(checkpoint.path, checkpoint.info, made)


def synthesised(checkpoints: Path, step: int, length: float) -> dict[str, Tensor]:
    """Return the weights averaged over a `length` σ, up to `step`, by name. Raises InvalidRequest without snapshots."""
    steps = sorted(s for s in snapshots(checkpoints) if s <= step)
    if not steps:
        raise InvalidRequest(f"{checkpoints} has no averages up to step {step}", hint="train with --power-averages")
    made: dict[str, Tensor] = {}
    shares = iter(proportions([(s, gamma_of(one)) for s in steps for one in LENGTHS], (step, gamma_of(length))))
    for saved in (load_file(file_of(checkpoints, s)) for s in steps):
        for one in LENGTHS:
            share = next(shares)
            for name in (n.partition("/")[2] for n in saved if n.startswith(f"{one}/")):
                part = share * saved[f"{one}/{name}"].double()
                made[name] = made[name] + part if name in made else part
    return {name: tensor.float() for name, tensor in made.items()}
