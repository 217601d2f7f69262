"""LayerSync: an early layer learns to say what a later one says; no other model is needed.

The later layer is the clearer one and is not moved by it. Nothing of it is left in the trained model.
Source: Haghighi et al. 2025 (LayerSync), whose 28 layers align the 8th with the 16th, with a weight of 0.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from t2v_core.models.denoisers.video_transformer import VideoTransformer

EARLY, LATE = 8 / 28, 16 / 28


class LayerSync:
    """Hears two layers of a transformer whenever it learns, and says how far they are apart.

    weight: of their cosine similarity in the loss
    """

    def __init__(self, model: VideoTransformer, weight: float) -> None:
        self.weight = weight
        self.early, self.late = chosen_layers(len(model.blocks))
        self._said: dict[int, Tensor] = {}
        for number in (self.early, self.late):
            model.blocks[number].register_forward_hook(self._hearing(number))

    def _hearing(self, number: int) -> Any:
        def hear(_layer: nn.Module, _given: tuple[Any, ...], answer: Tensor) -> None:
            if torch.is_grad_enabled():  # neither in a sample nor in the held-out loss
                self._said[number] = answer

        return hear

    def loss(self) -> Tensor:
        """Return −weight · mean cosine similarity of the last pass's tokens; its gradient ends at the early layer."""
        early, late = (self._said.pop(number).float() for number in (self.early, self.late))
        return -self.weight * functional.cosine_similarity(early, late.detach(), dim=-1).mean()


def chosen_layers(count: int) -> tuple[int, int]:
    """Return the numbers, from 0, of the layer that learns and of the one it learns from, of 2 layers or more."""
    early = max(1, round(EARLY * count))
    return early - 1, max(early + 1, round(LATE * count)) - 1
