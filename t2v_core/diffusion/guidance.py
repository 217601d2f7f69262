"""Classifier-free guidance: the pull towards the prompt, and how to keep it from overdoing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Guidance:
    """How far to go from the null prompt's answer through the prompt's.

    scale: 1 is the prompt's answer itself
    rescale: φ, 0 … 1: how much of the standard deviation that the pull adds is taken back
    """

    scale: float = 2.0
    rescale: float = 0.0

    def combine(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """Return the guided answer from the prompts' and the null prompt's, all (batch, …).

        Source: Ho & Salimans 2022, eq. 6; Lin et al. 2024, eq. 14 to 16 for the rescale, each video by itself.
        """
        guided = unconditional + self.scale * (conditional - unconditional)
        if self.rescale == 0:
            return guided
        dimensions = tuple(range(1, guided.dim()))
        # An answer that is the same everywhere has nothing to bring down.
        spread = guided.std(dimensions, keepdim=True).clamp(min=1e-12)
        ratio = conditional.std(dimensions, keepdim=True) / spread
        return guided * (self.rescale * ratio + 1 - self.rescale)
