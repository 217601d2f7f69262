"""Prompts as a model takes them: padded to the longest of the batch, with a mask over the real tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.text import TextEmbedding


@dataclass(frozen=True)
class Conditioning:
    """A batch of prompts.

    tokens: (batch, length, dim); mask: (batch, length) bool, True where real; pooled: (batch, pooled_dim)
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor

    @classmethod
    def of(cls, prompts: Sequence[TextEmbedding]) -> Conditioning:
        """Pad with zeros, which the mask keeps out of every attention."""
        tokens = torch.nn.utils.rnn.pad_sequence([p.tokens.float() for p in prompts], batch_first=True)
        lengths = torch.tensor([len(p.tokens) for p in prompts])
        mask = torch.arange(tokens.shape[1]) < lengths[:, None]
        return cls(tokens, mask, torch.stack([p.pooled.float() for p in prompts]))

    def to(self, device: torch.device, dtype: torch.dtype) -> Conditioning:
        """Return the batch on `device`; tokens and pooled become `dtype`, the mask stays bool."""
        return Conditioning(self.tokens.to(device, dtype), self.mask.to(device), self.pooled.to(device, dtype))


def null_prompt(model: Denoiser) -> TextEmbedding:
    """Return the prompt that says nothing.

    In training a dropped caption becomes it, and in sampling guidance starts from it.
    """
    return TextEmbedding(model.null_tokens.float().cpu(), model.null_pooled.float().cpu())
