"""What every denoiser has, whatever it is built of: its inputs, its null prompt, its sense of time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

TIME_FREQUENCIES = 160


class Denoiser(ModelMixin, ConfigMixin, ABC):
    """Predicts what an objective asks for (noise, velocity) from noisy latents, a timestep and a prompt.

    Its configuration has at least `in_channels`, `sample_size` and `num_frames`, the shape of a latent clip (frames,
    channels, height = width), and these:

    text_dim, pooled_dim: sizes of a prompt's token and pooled embeddings; pooled_dim 0 leaves the pooled one out
    null_length: tokens of the null prompt, which is kept with the weights: training drops captions to it, guidance
    starts from it
    """

    _supports_gradient_checkpointing = True
    # The layers that an adapter lies beside unless others are asked for.
    adapter_targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "out_proj")

    null_tokens: Tensor
    null_pooled: Tensor

    def __init__(self, *, text_dim: int, pooled_dim: int, null_length: int) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.register_buffer("null_tokens", torch.zeros(null_length, text_dim))
        self.register_buffer("null_pooled", torch.zeros(pooled_dim))

    @abstractmethod
    def forward(
        self, latents: Tensor, timesteps: Tensor, text: Tensor, mask: Tensor | None, pooled: Tensor | None
    ) -> Tensor:
        """Return the prediction, of the latents' shape and dtype.

        latents: (batch, frames, channels, height, width), noisy; frames may be fewer than in training
        timesteps: (batch,) in 0 … 1000
        text: (batch, length, text_dim) with mask (batch, length), True where a token is real; None: all are
        pooled: (batch, pooled_dim); used when the model has a pooled_dim
        """

    @classmethod
    @abstractmethod
    def completed(cls, config: dict[str, Any], *, preset: str, attention: str) -> dict[str, Any]:
        """Return a preset's configuration, already of the data's shapes, with what this architecture makes of the rest.

        attention: over time, as asked: frame (none), temporal, joint, joint+temporal
        Raises InvalidRequest when preset, data and attention do not fit together.
        """

    @property
    @abstractmethod
    def over_time(self) -> str:
        """Say how frames see each other, in words."""

    def adapted_parts(self) -> dict[str, nn.Module]:
        """Return the modules that an adapter lies in, by what stands before their layers' names in its file."""
        return {"denoiser": self}

    def set_null_prompt(self, tokens: Tensor, pooled: Tensor) -> None:
        """Keep the encoded empty prompt with the weights. tokens: (null_length, text_dim), pooled: (pooled_dim,)"""
        self.null_tokens.copy_(tokens)
        self.null_pooled.copy_(pooled[: self.null_pooled.numel()])

    def take_null_prompt(self, tokens: Tensor, pooled: Tensor) -> None:
        """Keep the encoded empty prompt in a model that has none yet, whatever its length."""
        self.null_tokens = tokens.to(self.null_tokens)
        self.null_pooled = pooled[: self.null_pooled.numel()].to(self.null_pooled)
        self.register_to_config(null_length=len(tokens))


def timestep_embedding(timesteps: Tensor) -> Tensor:
    """Return sines, then cosines, of 160 frequencies from 1 down to 1/10000: (batch,) → (batch, 320) float32.

    Source: Vaswani et al. 2017, §3.5, with the last frequency exactly 1/10000 as the previous system had it.
    """
    numbers = torch.arange(TIME_FREQUENCIES, device=timesteps.device, dtype=torch.float32)
    # In this order, as its description has it: another rounds differently, and the sines of t = 903 differ by 6e-5.
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10_000) * numbers / (TIME_FREQUENCIES - 1))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
