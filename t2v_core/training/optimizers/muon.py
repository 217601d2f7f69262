"""Muon for the weights of the layers, AdamW for all else: steps of one length in every direction of a matrix.

An average of its gradients is made orthogonal before it is taken as a step, so that directions which gradients seldom
point to are learned as fast as the others. Source: Jordan et al. 2024 (Muon); Liu et al. 2025 (Muon is Scalable for LLM
Training), eq. 4, whose factor makes the step as large as AdamW's, so that both take the same learning rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
# Of Newton and Schulz's iteration: five times bring singular values of 0.003 … 1 to 0.7 … 1.2.
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
# Parts of a model that hold its layers; what goes in and comes out, norms and biases are AdamW's.
LAYERS = ("blocks", "block", "samplers")


class Muon(torch.optim.AdamW):
    """AdamW whose last group holds the weights that go Muon's way; their state is `exp_avg` alone.

    A kernel of convolution is a matrix with a row for each channel that comes out.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], **settings: Any) -> None:
        """parameters: by name; settings: of AdamW"""
        chosen = {
            name
            for name, parameter in parameters.items()
            if parameter.dim() >= 2 and name.partition(".")[0].endswith(LAYERS)
        }
        super().__init__([parameter for name, parameter in parameters.items() if name not in chosen], **settings)
        self.add_param_group({"params": [parameters[name] for name in parameters if name in chosen]})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step of each kind; AdamW leaves out what has no gradient."""
        group = self.param_groups[-1]
        gradients = {parameter: parameter.grad for parameter in group["params"] if parameter.grad is not None}
        for parameter in gradients:
            parameter.grad = None
        loss = super().step(closure)
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter, gradient in gradients.items():
            parameter.grad = gradient
            alike[parameter.shape].append(parameter)
        for shape, parameters in alike.items():
            matrices = torch.stack([self._averaged(parameter).flatten(1) for parameter in parameters])
            updates = orthogonal(matrices).unflatten(2, shape[1:])
            length = group["lr"] * 0.2 * max(matrices.shape[1:]) ** 0.5
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, list(updates.unbind()), alpha=-length)
        return loss

    def _averaged(self, parameter: Tensor) -> Tensor:
        """Its gradient, and Nesterov's average of those before."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None  # only those that have one are asked for
        if "exp_avg" not in state:
            state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
        averaged: Tensor = gradient.lerp(state["exp_avg"], MOMENTUM)
        return averaged


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of (number, rows, columns) near 1 and leave their directions as they are."""
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if is_tall else x
