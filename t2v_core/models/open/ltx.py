"""LTX-Video: latents as one sequence, positions that know the frame rate, steps that know the sequence's length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2v_core.models.conditioning import Conditioning
from t2v_core.models.open.base import OpenModel, Usual


class LTX(OpenModel):
    """LTX-Video 0.9.x, 2B and 13B."""

    name, pipeline = "LTX-Video", "LTXPipeline"
    text_length = 128
    licence = "LTXV open weights"

    @property
    def usual(self) -> Usual:
        """Return what its makers draw."""
        return Usual((512, 704), 161, 25.0, guidance=3.0)

    def text(self, prompts: Sequence[str]) -> Conditioning:
        """Encode with T5, with a mask over the real tokens."""
        tokens, mask, _, _ = self.prompting().encode_prompt(
            list(prompts), do_classifier_free_guidance=False, max_sequence_length=self.text_length, device=self.device
        )
        return Conditioning(tokens, mask, tokens.new_zeros(len(tokens), 0))

    def forward(self, transformer: Any, x: Tensor, timesteps: Tensor, text: Conditioning, guidance: float) -> Tensor:
        """Ask the transformer for a sequence, and give it back as a video."""
        frames, height, width = x.shape[2:]
        time, side = self.ratios
        answer = transformer(
            hidden_states=x.flatten(2).transpose(1, 2),
            timestep=timesteps,
            encoder_hidden_states=text.tokens,
            encoder_attention_mask=text.mask,
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(time / self.fps, side, side),
            return_dict=False,
        )[0]
        return answer.transpose(1, 2).unflatten(2, (frames, height, width))

    def pixels_of(self, vae: Any, z: Tensor) -> Tensor:
        """Decode; a VAE since 0.9.1 is told how noisy the latents are: not at all, as diffusers has it by default."""
        is_told = vae.config.timestep_conditioning
        return vae.decode(
            z, torch.zeros(len(z), device=z.device, dtype=z.dtype) if is_told else None, return_dict=False
        )[0]

    def set_timesteps(self, scheduler: Any, steps: int, shape: tuple[int, int, int, int]) -> None:
        """Spend more steps on noise the longer the sequence is."""
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=self._mu(scheduler.config, shape))

    def shift(self, shape: tuple[int, int, int, int]) -> float:
        """Return how far sampling is shifted towards noise: more for a longer sequence."""
        return math.exp(self._mu(self.parts.use("scheduler").config, shape))

    def _mu(self, config: Any, shape: tuple[int, int, int, int]) -> float:
        from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift  # an estimate needs no pipeline

        return calculate_shift(
            shape[0] * shape[2] * shape[3],
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.15),
        )
