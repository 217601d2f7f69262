"""VideoTransformer: the denoiser, from the previous system's frame-by-frame model to attention over time."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from t2v_core.models.blocks import AdaLNBlock, SeedCrossBlock, SeedSelfBlock

TIME_FREQUENCIES = 160


class VideoTransformer(ModelMixin, ConfigMixin):
    """Predicts what an objective asks for (noise, velocity) from noisy latents, a timestep and a prompt.

    in_channels, sample_size, num_frames: shape of a latent clip (frames, channels, height = width)
    patch_size: latent pixels on a side that make one token
    text_dim, pooled_dim: sizes of a prompt's token and pooled embeddings; pooled_dim 0 leaves the pooled one out
    block: `seed` (the previous system's layers, pairs of them) or `adaln`
    attention: how tokens see across frames, see `AdaLNBlock`
    null_length: tokens of the null prompt, which is kept with the weights: training drops captions to it, guidance
    starts from it
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["SeedSelfBlock", "SeedCrossBlock", "AdaLNBlock"]  # noqa: RUF012 - diffusers' own convention

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        sample_size: int = 32,
        num_frames: int = 16,
        patch_size: int = 1,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        mlp_ratio: int = 4,
        text_dim: int = 512,
        pooled_dim: int = 0,
        block: str = "seed",
        attention: str = "frame",
        qk_norm: bool = False,
        null_length: int = 2,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.time_embed = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )
        self.input_proj = nn.Linear(in_channels * patch_size**2, hidden_size)
        self.text_proj = nn.Linear(text_dim, hidden_size)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (sample_size // patch_size) ** 2, hidden_size))
        self.register_buffer("null_tokens", torch.zeros(null_length, text_dim))
        self.register_buffer("null_pooled", torch.zeros(pooled_dim))
        blocks: list[nn.Module] = []
        if block == "seed":
            for _ in range(num_layers):
                blocks.append(SeedSelfBlock(hidden_size, num_heads, mlp_ratio))
                blocks.append(SeedCrossBlock(hidden_size, num_heads, mlp_ratio))
        else:
            self.frame_embed = nn.Parameter(0.02 * torch.randn(1, num_frames, 1, hidden_size))
            self.pooled_proj = nn.Linear(pooled_dim, hidden_size)
            self.norm_out = nn.LayerNorm(hidden_size, elementwise_affine=False)
            self.modulation_out = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 2 * hidden_size))
            blocks.extend(
                AdaLNBlock(hidden_size, num_heads, mlp_ratio, attention=attention, qk_norm=qk_norm)
                for _ in range(num_layers)
            )
        self.blocks = nn.ModuleList(blocks)
        self.output_proj = nn.Linear(hidden_size, in_channels * patch_size**2)
        nn.init.zeros_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)

    def forward(
        self, latents: Tensor, timesteps: Tensor, text: Tensor, mask: Tensor | None, pooled: Tensor | None
    ) -> Tensor:
        """Returns the prediction, of the latents' shape and dtype.

        latents: (batch, frames, channels, height, width), noisy; frames may be fewer than in training
        timesteps: (batch,) in 0 … 1000
        text: (batch, length, text_dim) with mask (batch, length), True where a token is real; None: all are
        pooled: (batch, pooled_dim); used when the model has a pooled_dim
        """
        config: Any = self.config
        side = latents.shape[-1] // config.patch_size
        x = self.input_proj(_to_patches(latents, config.patch_size))
        conditioning = self.time_embed(timestep_embedding(timesteps).to(x.dtype))
        if config.block == "seed":
            x = x + conditioning[:, None, None, :] + self.pos_embed[:, None]
        else:
            conditioning = conditioning + self.pooled_proj(pooled)
            x = x + self.pos_embed[:, None]
            if config.attention != "frame":
                x = x + self.frame_embed[:, : x.shape[1]]
        text = self.text_proj(text)
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, x, conditioning, text, mask)
            else:
                x = block(x, conditioning, text, mask)
        if config.block != "seed":
            shift, scale = self.modulation_out(conditioning)[:, None, None, :].chunk(2, dim=-1)
            x = self.norm_out(x) * (1 + scale) + shift
        return _from_patches(self.output_proj(x), config.patch_size, side)

    def set_null_prompt(self, tokens: Tensor, pooled: Tensor) -> None:
        """Keep the encoded empty prompt with the weights. tokens: (null_length, text_dim), pooled: (pooled_dim,)"""
        self.null_tokens.copy_(tokens)
        self.null_pooled.copy_(pooled[: self.null_pooled.numel()])


def timestep_embedding(timesteps: Tensor) -> Tensor:
    """Sines, then cosines, of 160 frequencies from 1 down to 1/10000: (batch,) → (batch, 320) float32.

    Source: Vaswani et al. 2017, §3.5, with the last frequency exactly 1/10000 as the previous system had it.
    """
    exponents = torch.arange(TIME_FREQUENCIES, device=timesteps.device, dtype=torch.float32) / (TIME_FREQUENCIES - 1)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _to_patches(latents: Tensor, patch: int) -> Tensor:
    """(batch, frames, c, h, w) → (batch, frames, h·w / patch², c·patch²), rows first."""
    batch, frames, channels, height, width = latents.shape
    x = latents.reshape(batch, frames, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, frames, -1, channels * patch**2)


def _from_patches(x: Tensor, patch: int, side: int) -> Tensor:
    """The inverse of `_to_patches` for a square clip of `side` patches."""
    batch, frames = x.shape[:2]
    x = x.reshape(batch, frames, side, side, -1, patch, patch).permute(0, 1, 4, 2, 5, 3, 6)
    return x.reshape(batch, frames, -1, side * patch, side * patch)
