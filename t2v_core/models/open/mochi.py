"""Mochi: time runs backwards, and the answer points from noise to the video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2v_core.models.conditioning import Conditioning
from t2v_core.models.open.base import OpenModel, Usual

# Of Mochi's own schedule: half of the steps are spent on the last 2.5 % of the noise.
THRESHOLD = 0.025


class Mochi(OpenModel):
    """Mochi 1."""

    name, pipeline = "Mochi", "MochiPipeline"

    @property
    def usual(self) -> Usual:
        """Return what its makers draw."""
        return Usual((480, 848), 85, 30.0, steps=64, guidance=4.5)

    @property
    def text_length(self) -> int:
        """Return how many tokens of a prompt are read."""
        return int(self.parts.config("transformer").max_sequence_length)

    def text(self, prompts: Sequence[str]) -> Conditioning:
        """Encode with T5, with a mask over the real tokens."""
        own = self.prompting()
        own.register_to_config(force_zeros_for_empty_prompt=bool(self.parts.index.get("force_zeros_for_empty_prompt")))
        # One by one: of several, diffusers takes all for empty when the last one is.
        each = [
            own.encode_prompt(
                [prompt], do_classifier_free_guidance=False, max_sequence_length=self.text_length, device=self.device
            )
            for prompt in prompts
        ]
        tokens, mask = (torch.cat([one[place] for one in each]) for place in (0, 1))
        return Conditioning(tokens, mask, tokens.new_zeros(len(tokens), 0))

    def time_of(self, timestep: Tensor) -> Tensor:
        """Return a timestep as Mochi counts: 1000 where there is no noise."""
        return 1000 - timestep

    def forward(self, transformer: Any, x: Tensor, timesteps: Tensor, text: Conditioning, guidance: float) -> Tensor:
        """Ask the transformer and turn its answer round."""
        return -transformer(
            hidden_states=x,
            encoder_hidden_states=text.tokens,
            timestep=timesteps,
            encoder_attention_mask=text.mask,
            return_dict=False,
        )[0]

    def set_timesteps(self, scheduler: Any, steps: int, shape: tuple[int, int, int, int]) -> None:
        """Choose steps that are even where there is most noise, and then grow."""
        from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule  # an estimate needs no pipeline

        scheduler.set_timesteps(sigmas=np.array(linear_quadratic_schedule(steps, THRESHOLD)))
