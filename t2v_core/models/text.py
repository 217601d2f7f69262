"""An encoded prompt. It stands apart from the encoders, which take seconds to import."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TextEmbedding:
    """What a prompt becomes.

    tokens: (length, dim) last hidden states, unpadded, start and end tokens included
    pooled: (pooled_dim,) the projected end token, as CLIP compares it with images
    is_truncated: the prompt was longer than the encoder reads
    """

    tokens: Tensor
    pooled: Tensor
    is_truncated: bool = False
