"""Which kernels attention takes: torch's fused ones, or on some processors matrix products of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from t2v_core.models.cpu import mkl_lacks_avx512, onednn_multiplies
from t2v_core.models.single_products import attend_in_single_products, weights_of

# Up to so many keys the weights are few enough to be kept.
FEW_KEYS = 32
# Fused attention multiplies in blocks, of 256 queries from here on; oneDNN takes long over smaller ones: 16 frames at
# 1,024 places took 1,354 ms forward and backward, in products over all of them 118 ms.
MANY_KEYS = 768


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """`scaled_dot_product_attention` by the kernels that are the quickest here.

    query: (batch, heads, queries, dim); key, value: (batch, heads, keys, dim)
    mask: (batch, 1, 1, keys) bool, True where a key is real, as one of each prompt is at least
    """
    is_half = value.dtype == torch.bfloat16
    # In bf16 the fused kernels multiply through MKL, which has none of AVX-512 on an AMD: 120 ms against 94.
    if value.device.type != "cpu" or not (mkl_lacks_avx512() if is_half else onednn_multiplies()):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast casts for the fused kernels by itself
    if key.shape[2] <= FEW_KEYS:
        return weights_of(query, key, mask) @ value
    if key.shape[2] < MANY_KEYS or is_half:
        return attend_in_single_products(query, key, value, mask)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
