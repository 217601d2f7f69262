"""The layers of VideoTransformer. All take tokens of a whole clip, (batch, frames, tokens a frame, dim)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from t2v_core.models.denoisers.attention import Attention


def feed_forward(dim: int, ratio: int) -> nn.Sequential:
    """Make a feed-forward of one hidden layer, `ratio` times as wide as `dim`, with GELU."""
    return nn.Sequential(nn.Linear(dim, dim * ratio), nn.GELU(), nn.Linear(dim * ratio, dim))


class SeedSelfBlock(nn.Module):
    """The previous system's self-attention layer: every frame by itself."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.ff = feed_forward(dim, mlp_ratio)

    def forward(self, x: Tensor, _conditioning: Tensor, _text: Tensor, _mask: Tensor | None) -> Tensor:
        """Mix each frame's tokens among themselves. x: (batch, frames, tokens, dim), as is what comes back."""
        x = x + per_frame(self.attn, self.norm1(x))
        return x + self.ff(self.norm2(x))


class SeedCrossBlock(nn.Module):
    """The previous system's cross-attention layer: `norm1` serves twice, and `norm2` is the text's."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.cross_attn = Attention(dim, num_heads)
        self.ff = feed_forward(dim, mlp_ratio)

    def forward(self, x: Tensor, _conditioning: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
        """Mix the prompt into every token.

        x: (batch, frames, tokens, dim), as is what comes back; text: (batch, length, dim)
        mask: (batch, length) bool, True where a token is real; None: all are
        """
        x = x + to_text(self.cross_attn, self.norm1(x), self.norm2(text), mask)
        return x + self.ff(self.norm1(x))


class AdaLNBlock(nn.Module):
    """Attention within frames or over the whole clip, then over time, then to the text, then a feed-forward.

    Time and pooled text shift, scale and gate through adaptive layer norms whose gates start at zero
    (Peebles & Xie 2023, adaLN-Zero); attention over time starts as a no-op, through a zero output projection.

    attention: `frame`, `temporal` (frame, then the same position across frames), `joint` (all tokens of the clip) or
    `joint+temporal`
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: int, *, attention: str, qk_norm: bool) -> None:
        super().__init__()
        self.is_joint = attention.startswith("joint")
        modulation = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(modulation.weight)
        nn.init.zeros_(modulation.bias)
        self.modulation = nn.Sequential(nn.SiLU(), modulation)
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=False)
        self.attn = Attention(dim, num_heads, qk_norm=qk_norm)
        self.norm_temporal: nn.LayerNorm | None = None
        if attention.endswith("temporal"):
            self.norm_temporal = nn.LayerNorm(dim)
            self.temporal_attn = Attention(dim, num_heads, qk_norm=qk_norm)
            nn.init.zeros_(self.temporal_attn.out_proj.weight)
        self.norm_cross = nn.LayerNorm(dim)
        self.cross_attn = Attention(dim, num_heads, qk_norm=qk_norm)
        self.norm2 = nn.LayerNorm(dim, elementwise_affine=False)
        self.ff = feed_forward(dim, mlp_ratio)

    def forward(self, x: Tensor, conditioning: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
        """Mix the tokens with each other and with the prompt.

        x: (batch, frames, tokens, dim), as is what comes back; conditioning: (batch, dim), of time and pooled text
        text: (batch, length, dim) with mask (batch, length) bool, True where a token is real; None: all are
        """
        modulation = self.modulation(conditioning)[:, None, None, :]
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, dim=-1)
        attend = over_clip if self.is_joint else per_frame
        x = x + gate1 * attend(self.attn, self.norm1(x) * (1 + scale1) + shift1)
        if self.norm_temporal is not None:
            x = x + over_time(self.temporal_attn, self.norm_temporal(x))
        x = x + to_text(self.cross_attn, self.norm_cross(x), text, mask)
        return x + gate2 * self.ff(self.norm2(x) * (1 + scale2) + shift2)


def per_frame(attention: nn.Module, x: Tensor) -> Tensor:
    """Let each token see the tokens of its own frame."""
    return torch.unflatten(attention(x.flatten(0, 1)), 0, x.shape[:2])


def over_clip(attention: nn.Module, x: Tensor) -> Tensor:
    """Let each token see every token of the clip."""
    return torch.unflatten(attention(x.flatten(1, 2)), 1, x.shape[1:3])


def over_time(attention: nn.Module, x: Tensor) -> Tensor:
    """Let each token see the tokens at its own place in all frames."""
    batch, frames, tokens, dim = x.shape
    columns = x.transpose(1, 2).reshape(batch * tokens, frames, dim)
    return attention(columns).reshape(batch, tokens, frames, dim).transpose(1, 2)


def to_text(attention: nn.Module, x: Tensor, text: Tensor, mask: Tensor | None) -> Tensor:
    """Let each token see the prompt. All frames share it, so it is not repeated for each."""
    return torch.unflatten(attention(x.flatten(1, 2), text, mask), 1, x.shape[1:3])
