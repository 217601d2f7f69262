"""Wan 2.1 and 2.2: text padded with zeros, no mask; in 2.2 two experts, or a timestep a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from t2v_core.models.conditioning import Conditioning
from t2v_core.models.open.base import OpenModel, Usual
from t2v_core.models.open.parts import Parts


class Wan(OpenModel):
    """Wan 2.1 (1.3B, 14B), 2.2 A14B (one expert for the noisier steps, one for the others) and 2.2 TI2V-5B."""

    name, pipeline = "Wan", "WanPipeline"
    text_length = 512
    copies_of_tiles = 3  # clamped in the end

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        parts.in_float32 = ("vae",)  # as its makers run it; in bf16 it shows

    @property
    def usual(self) -> Usual:
        """Return what its makers draw: 5 seconds at 480p, 2.2's 5B at 720p, where its VAE takes 16 pixels as one."""
        if self.parts.index.get("expand_timesteps"):
            return Usual((704, 1280), 121, 24.0)
        return Usual((480, 832), 81, 16.0, guidance=4.0 if self._boundary else 5.0)

    @property
    def ratios(self) -> tuple[int, int]:
        """Return how many frames, and how many pixels of a side, the VAE puts into one."""
        config = self.parts.config("vae")
        return int(config.scale_factor_temporal), int(config.scale_factor_spatial)

    @property
    def _boundary(self) -> float:
        """The timestep from which on the first expert answers; 0 where there is one transformer."""
        return float(self.parts.index.get("boundary_ratio") or 0) * 1000

    def transformer_at(self, timestep: float) -> str:
        """Return which expert answers: the first one above the boundary, the second one below."""
        return "transformer" if timestep >= self._boundary else "transformer_2"

    def text(self, prompts: Sequence[str]) -> Conditioning:
        """Encode with UMT5; what is behind a prompt's end is zero."""
        tokens, _ = self.prompting().encode_prompt(
            list(prompts), do_classifier_free_guidance=False, max_sequence_length=self.text_length, device=self.device
        )
        return Conditioning(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.new_zeros(len(tokens), 0))

    def _lengths(self, text: Conditioning) -> list[int]:
        """There is no mask: what is behind a prompt's end is zero."""
        counts = text.tokens.abs().amax(-1).bool().cpu() * torch.arange(1, text.tokens.shape[1] + 1)
        return [int(last) for last in counts.amax(1)]

    def forward(self, transformer: Any, x: Tensor, timesteps: Tensor, text: Conditioning, guidance: float) -> Tensor:
        """Ask one of the experts; TI2V-5B has the timestep at each token, as it could keep a first frame clean."""
        if self.parts.index.get("expand_timesteps"):
            tokens = x.shape[2] * (x.shape[3] // self.patch) * (x.shape[4] // self.patch)
            timesteps = timesteps[:, None].expand(-1, tokens)
        return transformer(hidden_states=x, timestep=timesteps, encoder_hidden_states=text.tokens, return_dict=False)[0]
