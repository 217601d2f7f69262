"""Which parameters a run trains: all of a model, or those that an adapter put beside frozen ones."""

from __future__ import annotations

from torch import nn


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return what is trained, by name, in the model's order."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
