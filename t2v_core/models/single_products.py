"""Attention in single matrix products that keeps no weights: they are made again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

# Scores that are there at a time, 8 MB of bf16; of one head at least.
SCORES_AT_A_TIME = 1 << 22


def attend_in_single_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """What `scaled_dot_product_attention` answers, up to scores that are rounded to the dtype of the tensors.

    query: (batch, heads, queries, dim); key, value: (batch, heads, keys, dim)
    mask: (batch, 1, 1, keys) bool, True where a key is real, as one of each prompt is at least
    """
    apply: Callable[..., Tensor] = _SingleProducts.apply
    return apply(query, key, value, mask)


def weights_of(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """How much each query sees of each key: (batch, heads, queries, keys)."""
    scores = _scaled(query) @ key.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)


class _SingleProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        ctx.save_for_backward(query, key, value, mask)
        mixed = torch.empty_like(query)
        for part in _parts(query, key):
            mixed[part] = weights_of(query[part], key[part], _mask(mask, part)) @ value[part]
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_mixed: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, mask = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        for part in _parts(query, key):
            weights = weights_of(query[part], key[part], _mask(mask, part))
            of_value[part] = weights.mT @ of_mixed[part]
            of_weights = of_mixed[part] @ value[part].mT
            of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            of_query[part] = _scaled(of_scores @ key[part])
            of_key[part] = of_scores.mT @ _scaled(query[part])
        return of_query, of_key, of_value, None


def _scaled(query: Tensor) -> Tensor:
    return query * query.shape[-1] ** -0.5


def _parts(query: Tensor, key: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of batch and heads with few enough scores."""
    batch, heads, length, _ = query.shape
    at_a_time = max(1, SCORES_AT_A_TIME // (length * key.shape[2]))  # heads, whosever they are
    clips, own = max(1, at_a_time // heads), min(heads, at_a_time)
    for clip in range(0, batch, clips):
        for head in range(0, heads, own):
            yield slice(clip, clip + clips), slice(head, head + own)


def _mask(mask: Tensor | None, part: tuple[slice, slice]) -> Tensor | None:
    return None if mask is None else mask[part[0]]
