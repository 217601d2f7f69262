"""The arithmetic of one training clip, for the share of the hardware's peak (MFU)."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from t2v_core.models.denoisers.by_name import make_denoiser

TEXT_TOKENS = 16  # a caption's usual length; the text's share is below one percent


def flops_per_clip(config: dict[str, Any]) -> float:
    """Return the floating-point operations of a forward and backward pass over one clip, counted on shapes alone.

    The backward pass is twice the forward one; what gradient checkpointing computes again does not count
    (Chowdhery et al. 2022, appendix B).
    """
    frames, side = config["num_frames"], config["sample_size"]
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        model = make_denoiser(config)
        model(
            torch.empty(1, frames, config["in_channels"], side, side),
            torch.empty(1),
            torch.empty(1, TEXT_TOKENS, config["text_dim"]),
            None,
            torch.empty(1, config["pooled_dim"]),
        )
    return 3.0 * counter.get_total_flops()
