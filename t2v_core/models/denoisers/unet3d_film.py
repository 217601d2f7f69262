"""UNet3DCond: a denoiser of 3-D convolutions that time and prompt steer by feature-wise modulation (FiLM)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.denoiser import TIME_FREQUENCIES, Denoiser, timestep_embedding

NORM_GROUPS = 8


class FiLM(nn.Module):
    """x · (1 + γ) + β, with a γ and a β for each channel that are linear in the condition.

    Both start at zero, so that an untrained one changes nothing.
    Source: Perez et al. 2018, eq. 1 and 2, with γ as a difference from 1.
    """

    def __init__(self, condition_dim: int, channels: int) -> None:
        super().__init__()
        self.to_gamma = _from_zero(nn.Linear(condition_dim, channels))
        self.to_beta = _from_zero(nn.Linear(condition_dim, channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Scale and shift each channel of x as the condition says.

        x: (batch, channels, frames, height, width); condition: (batch, condition_dim)
        """
        gamma = self.to_gamma(condition)[:, :, None, None, None]
        beta = self.to_beta(condition)[:, :, None, None, None]
        return x * (1 + gamma) + beta


class Block3D(nn.Module):
    """Twice: a convolution over 3 frames, 3 rows and 3 columns, GroupNorm, SiLU, FiLM."""

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(NORM_GROUPS, out_channels)
        self.film1 = FiLM(condition_dim, out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(NORM_GROUPS, out_channels)
        self.film2 = FiLM(condition_dim, out_channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Run both convolutions. x: (batch, channels, frames, height, width); condition: (batch, condition_dim)"""
        x = self.film1(functional.silu(self.norm1(self.conv1(x))), condition)
        return self.film2(functional.silu(self.norm2(self.conv2(x))), condition)


class UNet3DCond(Denoiser):
    """Down to fewer, wider positions, and up again with a skip connection at each size.

    The way down halves height and width first; every further step halves the frames too. Any number of frames and any
    size goes through: halves are rounded up, and the way up takes its sizes from the skips. Frames see each other
    through the convolutions, and through GroupNorm, whose mean and variance are the whole clip's.

    The timestep and the pooled prompt come in through FiLM; the prompt's single tokens are not used.

    block_out_channels: widths from the full size down, each a multiple of 8
    condition_dim: width of what time and prompt become together
    The rest as for every `Denoiser`.

    Source: Ronneberger et al. 2015 for the shape, with convolutions over time as Ho et al. 2022 (Video Diffusion
    Models) take a U-Net to clips; the layers are those of the system before t2v.
    """

    adapter_targets = ("conv1", "conv2", "to_gamma", "to_beta")
    _no_split_modules: ClassVar[list[str]] = ["Block3D"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 4,
        sample_size: int = 32,  # kept in the configuration: convolutions take any size,
        num_frames: int = 16,  # but sampling wants to know which one it learned
        block_out_channels: Sequence[int] = (64, 128, 256),
        condition_dim: int = 256,
        text_dim: int = 512,
        pooled_dim: int = 512,
        null_length: int = 2,
    ) -> None:
        super().__init__(text_dim=text_dim, pooled_dim=pooled_dim, null_length=null_length)
        widths = tuple(block_out_channels)
        self.time_embed = nn.Sequential(
            nn.Linear(2 * TIME_FREQUENCIES, condition_dim), nn.SiLU(), nn.Linear(condition_dim, condition_dim)
        )
        self.pooled_proj = nn.Linear(pooled_dim, condition_dim)
        self.down_blocks = nn.ModuleList(
            Block3D(before, width, condition_dim) for before, width in pairwise((in_channels, *widths[:-1]))
        )
        self.downsamplers = nn.ModuleList(
            nn.Conv3d(width, width, 3, stride=(2 if level else 1, 2, 2), padding=1)
            for level, width in enumerate(widths[:-1])
        )
        self.mid_block = Block3D(widths[-2], widths[-1], condition_dim)
        self.up_blocks = nn.ModuleList(
            Block3D(below + width, width, condition_dim) for below, width in pairwise(reversed(widths))
        )
        self.output_proj = _from_zero(nn.Conv3d(widths[0], in_channels, 1))

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        text: Tensor,  # the pooled prompt is enough here
        mask: Tensor | None,
        pooled: Tensor | None,
    ) -> Tensor:
        """Return the prediction, (batch, frames, channels, height, width) as the latents are.

        The prompt's tokens, text and mask, are not used; pooled: (batch, pooled_dim).
        """
        time = self.time_embed(timestep_embedding(timesteps).to(latents.dtype))
        condition = functional.silu(time + self.pooled_proj(pooled))
        x = latents.transpose(1, 2)  # channels before frames, as convolutions have them
        skips = []
        for block, downsample in zip(self.down_blocks, self.downsamplers, strict=True):
            x = self._through(block, x, condition)
            skips.append(x)
            x = downsample(x)
        x = self._through(self.mid_block, x, condition)
        for block in self.up_blocks:
            skip = skips.pop()
            x = functional.interpolate(x, size=skip.shape[2:])  # each position repeated
            x = self._through(block, torch.cat([x, skip], dim=1), condition)
        return self.output_proj(x).transpose(1, 2)

    def _through(self, block: nn.Module, x: Tensor, condition: Tensor) -> Tensor:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, x, condition)
        return block(x, condition)

    @classmethod
    def completed(cls, config: dict[str, Any], *, preset: str, attention: str) -> dict[str, Any]:
        """Return the configuration as it is. Raises InvalidRequest for any attention but frame."""
        if attention != "frame":
            raise InvalidRequest(
                f"the {preset} preset has no attention: its convolutions go over time",
                hint="leave --attention out, or use --preset base",
            )
        return config

    @property
    def over_time(self) -> str:
        """Say how frames see each other, in words."""
        return "convolutions over time"


def _from_zero(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
