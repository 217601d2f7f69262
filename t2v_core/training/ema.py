"""Exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from t2v_core.training.sharding import part_of
from t2v_core.training.trained import trained


class EMA:
    """Averaged copies of the parameters that are trained, on their device, float32.

    decay: of the average; early on it is lower, (1 + step) / (10 + step), so that the start is forgotten
    Source: Polyak & Juditsky 1992; the warm-up is TensorFlow's ExponentialMovingAverage's.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        parameters = trained(model)
        self.names = list(parameters)
        self.averages = [p.detach().float().clone() for p in parameters.values()]

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the weights after optimiser step number `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [p.detach().float() for p in trained(model).values()]
        torch._foreach_lerp_(self.averages, current, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by parameter name, not copied: they change with the next `update`."""
        return dict(zip(self.names, self.averages, strict=True))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy the averages in by parameter name. Raises KeyError when one is missing."""
        for name, average in zip(self.names, self.averages, strict=True):
            average.copy_(part_of(state[name], average))

    @contextmanager
    def swapped_in(self, model: nn.Module) -> Iterator[None]:
        """Let the model compute with the averages while inside; afterwards it has its own weights again."""
        parameters = list(trained(model).values())
        originals = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, average in zip(parameters, self.averages, strict=True):
                parameter.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, original in zip(parameters, originals, strict=True):
                    parameter.copy_(original)
