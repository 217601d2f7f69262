"""CogVideoX: v on DDPM's schedule, frames before channels, positions that the caller reckons (5B)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor

from t2v_core.errors import InvalidRequest
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.open.base import OpenModel, Usual
from t2v_core.models.open.parts import Parts


class CogVideoX(OpenModel):
    """CogVideoX 2B and 5B. 1.5 takes two frames of latents as one token, and is not among them."""

    name, pipeline = "CogVideoX", "CogVideoXPipeline"
    survives_fp16 = True

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        if parts.config("transformer").patch_size_t is not None:
            raise InvalidRequest(
                f"{parts.folder} is CogVideoX 1.5, and t2v knows CogVideoX 2B and 5B", hint="name another --model"
            )
        self.is_5b = bool(parts.config("transformer").use_rotary_positional_embeddings)
        self.licence = "CogVideoX licence" if self.is_5b else "apache-2.0"

    @property
    def usual(self) -> Usual:
        """Return what its makers draw: what the transformer's positions were made for."""
        config, side = self.parts.config("transformer"), self.ratios[1]
        return Usual((config.sample_height * side, config.sample_width * side), config.sample_frames, 8.0, guidance=6.0)

    @property
    def ratios(self) -> tuple[int, int]:
        """Return how many frames, and how many pixels of a side, the VAE puts into one."""
        config = self.parts.config("vae")
        return int(config.temporal_compression_ratio), 2 ** (len(config.block_out_channels) - 1)

    @property
    def text_length(self) -> int:
        """Return how many tokens of a prompt are read; the transformer takes just so many."""
        return int(self.parts.config("transformer").max_text_seq_length)

    def text(self, prompts: Sequence[str]) -> Conditioning:
        """Encode with T5, padded, without a mask."""
        tokens, _ = self.prompting().encode_prompt(
            list(prompts), None, False, max_sequence_length=self.text_length, device=self.device
        )
        return Conditioning(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.new_zeros(len(tokens), 0))

    def forward(self, transformer: Any, x: Tensor, timesteps: Tensor, text: Conditioning, guidance: float) -> Tensor:
        """Ask the transformer; 5B's positions are turned by the caller."""
        answer = transformer(
            hidden_states=x.transpose(1, 2),
            encoder_hidden_states=text.tokens,
            timestep=timesteps.long(),
            image_rotary_emb=self.rotary(transformer, x) if self.is_5b else None,
            return_dict=False,
        )[0]
        return answer.transpose(1, 2)

    def rotary(self, transformer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of positions: of the size that it was made for, others take the middle."""
        config, patch = transformer.config, self.patch
        grid = (x.shape[3] // patch, x.shape[4] // patch)
        made_for = (config.sample_height // patch, config.sample_width // patch)
        scale = min(own / side for own, side in zip(made_for, grid, strict=True))
        sizes = [min(own, round(side * scale)) for own, side in zip(made_for, grid, strict=True)]
        starts = [round((own - size) / 2) for own, size in zip(made_for, sizes, strict=True)]
        ends = [start + size for start, size in zip(starts, sizes, strict=True)]
        return get_3d_rotary_pos_embed(
            embed_dim=config.attention_head_dim,
            crops_coords=(tuple(starts), tuple(ends)),
            grid_size=grid,
            temporal_size=x.shape[2],
            device=x.device,
        )
