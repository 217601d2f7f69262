"""VideoTransformer: the denoiser, from the previous system's frame-by-frame model to attention over time."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.blocks import AdaLNBlock, SeedCrossBlock, SeedSelfBlock
from t2v_core.models.denoisers.denoiser import TIME_FREQUENCIES, Denoiser, timestep_embedding


class VideoTransformer(Denoiser):
    """Tokens of all frames through layers of attention.

    patch_size: latent pixels on a side that make one token
    block: `seed` (the previous system's layers, pairs of them) or `adaln`
    attention: how tokens see across frames, see `AdaLNBlock`
    The rest as for every `Denoiser`.
    """

    _no_split_modules: ClassVar[list[str]] = ["SeedSelfBlock", "SeedCrossBlock", "AdaLNBlock"]

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
        super().__init__(text_dim=text_dim, pooled_dim=pooled_dim, null_length=null_length)
        self.time_embed = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )
        self._embed_more_of_time(hidden_size)
        self.input_proj = nn.Linear(in_channels * patch_size**2, hidden_size)
        self.text_proj = nn.Linear(text_dim, hidden_size)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (sample_size // patch_size) ** 2, hidden_size))
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
        """Return the prediction, (batch, frames, channels, height, width) as the latents are."""
        config: Any = self.config
        side = latents.shape[-1] // config.patch_size
        x = self.input_proj(_to_patches(latents, config.patch_size))
        conditioning = self.embed_time(timesteps, x.dtype)
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

    def _embed_more_of_time(self, hidden_size: int) -> None:
        """Make what a subclass embeds of time beside the timestep."""

    def embed_time(self, timesteps: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what the layers know of the time, (batch, hidden_size). timesteps: (batch,) in 0 … 1000"""
        embedded: Tensor = self.time_embed(timestep_embedding(timesteps).to(dtype))
        return embedded

    @classmethod
    def completed(cls, config: dict[str, Any], *, preset: str, attention: str) -> dict[str, Any]:
        """Add the attention to a preset's configuration; seed blocks take no pooled prompt.

        Raises InvalidRequest for latents that do not divide into patches, and for seed blocks with attention over time.
        """
        side, patch = config["sample_size"], config["patch_size"]
        if side % patch:
            raise InvalidRequest(
                f"latents of {side}×{side} do not divide into the {preset} preset's patches of {patch}×{patch}",
                hint="preprocess at another --size",
            )
        if config["block"] == "seed" and attention != "frame":
            raise InvalidRequest(f"the {preset} preset has no attention over time", hint="use --preset base")
        return config | {
            "pooled_dim": 0 if config["block"] == "seed" else config["pooled_dim"],
            "attention": attention,
        }

    @property
    def over_time(self) -> str:
        """Say how frames see each other, in words."""
        config: Any = self.config
        return f"attention {config.attention}"


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
