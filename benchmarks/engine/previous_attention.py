"""The previous system's attention, to measure against: `nn.MultiheadAttention` that returns its weights."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from t2v_core.models.denoisers.attention import Attention
from t2v_core.models.denoisers.video_transformer import VideoTransformer


class PreviousAttention(nn.Module):
    """Takes what `Attention` takes and has its parameters; the weights that come out as well are thrown away."""

    def __init__(self, same: Attention) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(same.out_proj.in_features, same.num_heads, batch_first=True)
        self.attention.in_proj_weight = same.in_proj_weight
        self.attention.in_proj_bias = same.in_proj_bias
        self.attention.out_proj.weight = same.out_proj.weight
        self.attention.out_proj.bias = same.out_proj.bias

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        mixed, _ = self.attention(x, context, context, key_padding_mask=None if mask is None else ~mask)
        return mixed


def with_previous_attention(model: VideoTransformer) -> VideoTransformer:
    """The same model around the same parameters, its attention replaced."""
    other = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    for block in other.blocks:
        for name, module in list(block.named_children()):
            if isinstance(module, Attention):
                setattr(block, name, PreviousAttention(module))
    return other
