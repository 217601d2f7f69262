"""TREAD: while a transformer learns, some tokens go past its middle layers and join again unchanged.

The layers between take less time, and what comes past them must be of use to the last ones as it is. A place goes past
in all frames of a clip, so that attention over time finds its places whole. Samples and held-out losses see all tokens.
Source: Krause et al. 2025 (TREAD), whose route is from layer 2 to the fourth from the end, with half of the tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn

from t2v_core.models.denoisers.video_transformer import VideoTransformer


class TokenRoute:
    """Leads tokens past the middle layers of a transformer whenever it learns.

    share: of a clip's places, 0 … 1
    """

    def __init__(self, model: VideoTransformer, share: float) -> None:
        self.places = model.pos_embed.shape[1]
        self.kept = max(1, self.places - round(share * self.places))
        self._staying: Tensor | None = None
        self._all: Tensor | None = None
        first, last = chosen_layers(len(model.blocks))
        model.blocks[first].register_forward_pre_hook(self._leave)
        model.blocks[last].register_forward_hook(self._join)

    def draw(self, count: int, generator: Generator, device: torch.device) -> None:
        """Choose the places that stay in the next forward pass, others for each of its `count` clips."""
        drawn = torch.rand(count, self.places, generator=generator).argsort(dim=1)[:, : self.kept]
        self._staying = drawn.sort(dim=1).values.to(device)

    def _leave(self, _layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._staying is None or not torch.is_grad_enabled():
            return None
        x, *rest = given
        self._all = x
        return (x.gather(2, _wide(self._staying, x)), *rest)

    def _join(self, _layer: nn.Module, _given: tuple[Any, ...], answer: Tensor) -> Tensor:
        if self._staying is None or self._all is None or not torch.is_grad_enabled():
            return answer
        return self._all.to(answer.dtype).scatter(2, _wide(self._staying, answer), answer)


def chosen_layers(count: int) -> tuple[int, int]:
    """Return the numbers, from 0, of the first and the last layer that some tokens miss, of 3 layers or more."""
    return min(2, count // 3), count - min(4, count // 3) - 1


def _wide(places: Tensor, x: Tensor) -> Tensor:
    """Shape (batch, places) as an index into tokens (batch, frames, places, dim)."""
    return places[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
