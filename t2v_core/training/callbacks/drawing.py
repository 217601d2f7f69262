"""How the samples of a training are drawn, whatever kind of model it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Drawing:
    """draw: (row of the store, seed) to (frames, height, width, 3) uint8; steps, guidance: that it takes"""

    draw: Callable[[int, int], Tensor]
    steps: int
    guidance: float
