"""Multi-head attention on the quickest kernels, with the parameter names of torch's MultiheadAttention.

Those are torch's fused ones, or where oneDNN multiplies, for short keys, plain products.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from t2v_core.models.cpu import onednn_multiplies

# Up to so many keys the weights are few enough to be kept for the backward pass; with more they are made again.
FEW_KEYS = 32
# Fused attention multiplies in blocks, of 256 queries from here on; oneDNN takes long over smaller ones: 16 frames at
# 1,024 places took 1,354 ms forward and backward, in products over all of them 118 ms.
MANY_KEYS = 768


class Attention(nn.Module):
    """`nn.MultiheadAttention` without its weights output, which keeps it off `scaled_dot_product_attention`.

    Packed `in_proj_weight`, `in_proj_bias` and `out_proj` have the same names, shapes and initial values, so that its
    state dicts load here.

    qk_norm: RMS-normalise queries and keys per head, so that their product cannot overflow in half precision
    (Dehghani et al. 2023, §2)
    """

    def __init__(self, dim: int, num_heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        self.norm_q = nn.RMSNorm(dim // num_heads, eps=1e-6) if qk_norm else nn.Identity()
        self.norm_k = nn.RMSNorm(dim // num_heads, eps=1e-6) if qk_norm else nn.Identity()
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return x's self-attention, or its cross-attention to context, (batch, queries, dim).

        x: (batch, queries, dim); context: (batch, keys, dim); mask: (batch, keys) bool, True where a key is real
        """
        batch, length, dim = x.shape
        query, key, value = self._projected(x, context)
        mixed = attend(
            self.norm_q(self._heads(query)),
            self.norm_k(self._heads(key)),
            self._heads(value),
            None if mask is None else mask[:, None, None, :],
        )
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, length, dim))

    def _projected(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of x, keys and values of context, or of x too, (batch, length, dim) each."""
        dim = x.shape[-1]
        if context is None:
            query, key, value = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            query = functional.linear(x, self.in_proj_weight[:dim], self.in_proj_bias[:dim])
            key, value = functional.linear(context, self.in_proj_weight[dim:], self.in_proj_bias[dim:]).chunk(2, dim=-1)
        return query, key, value

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, length, dim) → (batch, heads, length, dim / heads)"""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class SplitAttention(Attention):
    """The same attention with a layer each for queries, keys and values, beside which an adapter can lie.

    whole: gives its weights away; they are not copied
    """

    def __init__(self, whole: Attention) -> None:
        nn.Module.__init__(self)
        self.num_heads, self.out_proj = whole.num_heads, whole.out_proj
        self.norm_q, self.norm_k = whole.norm_q, whole.norm_k
        weights, biases = whole.in_proj_weight.chunk(3), whole.in_proj_bias.chunk(3)
        self.to_q, self.to_k, self.to_v = (_linear(*pair) for pair in zip(weights, biases, strict=True))

    def _projected(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        context = x if context is None else context
        return self.to_q(x), self.to_k(context), self.to_v(context)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (nn.Parameter(part.detach(), part.requires_grad) for part in (weight, bias))
    return layer


def split_attention(model: nn.Module) -> None:
    """Put a SplitAttention in the place of every Attention within a model; one that has none stays as it is."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is Attention:
                setattr(module, name, SplitAttention(child))


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
