"""Which kernels attention takes: torch's fused ones, or where oneDNN multiplies, for short keys, plain products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from t2v_core.models.cpu import onednn_multiplies

# Up to so many keys the weights are few enough to be kept for the backward pass; with more they are made again.
FEW_KEYS = 32
# Fused attention multiplies in blocks, of 256 queries from here on; oneDNN takes long over smaller ones: 16 frames at
# 1,024 places took 1,354 ms forward and backward, in products over all of them 118 ms.
MANY_KEYS = 768


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Compute `scaled_dot_product_attention` by the kernels that are the quickest here.

    query: (batch, heads, queries, dim); key, value: (batch, heads, keys, dim)
    mask: (batch, 1, 1, keys) bool, True where a key is real, as one of each prompt is at least
    """
    is_plain = value.dtype == torch.float32 and value.device.type == "cpu" and onednn_multiplies()
    if not is_plain or key.shape[2] >= MANY_KEYS:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    if key.shape[2] <= FEW_KEYS or not torch.is_grad_enabled():
        return in_plain_products(query, key, value, mask)
    mixed: Tensor = checkpoint(in_plain_products, query, key, value, mask, use_reentrant=False)
    return mixed


def in_plain_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Compute what `attend` does by way of all its weights: (batch, heads, queries, keys)."""
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ value
