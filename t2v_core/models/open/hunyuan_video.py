"""HunyuanVideo: a language model reads the prompt, and the transformer is told how strong the guidance is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2v_core.models.conditioning import Conditioning
from t2v_core.models.open.base import OpenModel, Usual
from t2v_core.models.open.parts import Parts


class HunyuanVideo(OpenModel):
    """HunyuanVideo, 13B."""

    name, pipeline = "HunyuanVideo", "HunyuanVideoPipeline"
    text_length = 256
    licence = "Tencent Hunyuan community licence"

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.embeds_guidance = bool(parts.config("transformer").guidance_embeds)

    @property
    def usual(self) -> Usual:
        """Return what its makers draw."""
        return Usual((720, 1280), 129, 24.0, guidance=6.0)

    def text(self, prompts: Sequence[str]) -> Conditioning:
        """Encode with Llama, within a template that is cut off again, and as a whole with CLIP."""
        tokens, pooled, mask = self.prompting().encode_prompt(
            list(prompts), max_sequence_length=self.text_length, device=self.device
        )
        return Conditioning(tokens, mask, pooled)

    def forward(self, transformer: Any, x: Tensor, timesteps: Tensor, text: Conditioning, guidance: float) -> Tensor:
        """Ask the transformer."""
        told = torch.full((len(x),), guidance, device=x.device, dtype=x.dtype) * 1000
        return transformer(
            hidden_states=x,
            timestep=timesteps,
            encoder_hidden_states=text.tokens,
            encoder_attention_mask=text.mask,
            pooled_projections=text.pooled,
            guidance=told if self.embeds_guidance else None,
            return_dict=False,
        )[0]

    def set_timesteps(self, scheduler: Any, steps: int, shape: tuple[int, int, int, int]) -> None:
        """Choose even steps, which the scheduler shifts towards noise."""
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
