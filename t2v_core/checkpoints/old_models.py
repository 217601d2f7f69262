"""Which of the previous system's models some weights are of, told by their names and shapes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from t2v_core.errors import InvalidRequest

# Of its transformer: 12 heads at a width of 768. The weights say the width and not the heads.
HEAD_DIM = 64
FRAMES = 16
# What distributed and compiled modules put before every name.
WRAPPERS = ("module.", "_orig_mod.")


def unwrapped(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same weights, in the same order, under the names of the module itself."""
    named = dict(weights)
    for prefix in WRAPPERS:
        if named and all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): value for name, value in named.items()}
    return named


def config_of(weights: Mapping[str, Tensor], where: str) -> tuple[str, dict[str, Any]]:
    """Return the preset that is the same architecture, and what `make_denoiser` makes it from, without a null prompt.

    Raises InvalidRequest for weights of neither the transformer nor the FiLM U-Net.
    """
    try:
        if "pos_embed" in weights and "blocks.0.norm1.weight" in weights:
            return "seed", _transformer(weights)
        if any(name.endswith("to_gamma.weight") for name in weights):
            return "unet3d", _unet(weights)
    except (KeyError, IndexError, ValueError) as error:
        raise InvalidRequest(
            f"{where} is of neither of the previous system's models: {error.args[0]} is missing or of another shape",
            hint="name a checkpoint_epoch_N.pt or final_model.pt of the system before t2v",
        ) from error
    some = next(iter(weights), "nothing")
    raise InvalidRequest(
        f"{where} is of neither of the previous system's models: it begins with {some[:80]}",
        hint="name a checkpoint_epoch_N.pt or final_model.pt of the system before t2v",
    )


def _transformer(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    width, channels = _shape(weights, "input_proj.weight", 2)
    _, tokens, _ = _shape(weights, "pos_embed", 3)
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    side, heads = math.isqrt(tokens), width // HEAD_DIM
    if side**2 != tokens:
        raise ValueError("pos_embed")
    if heads * HEAD_DIM != width:
        raise ValueError("input_proj.weight")
    if len(blocks) % 2:
        raise ValueError(f"blocks.{len(blocks)}.norm1.weight")
    return {
        "class": "VideoTransformer",
        "block": "seed",
        "attention": "frame",
        "in_channels": channels,
        "sample_size": side,
        "num_frames": FRAMES,
        "patch_size": 1,
        "hidden_size": width,
        "num_layers": len(blocks) // 2,
        "num_heads": heads,
        "mlp_ratio": _shape(weights, "blocks.0.ff.0.weight", 2)[0] // width,
        "text_dim": _shape(weights, "text_proj.weight", 2)[1],
        "pooled_dim": 0,
        "null_length": 0,
    }


def _unet(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Its names beyond FiLM's are not known; those of models/unet3d_film.py are what is looked for."""
    first, channels = _shape(weights, "down_blocks.0.conv1.weight", 5)[:2]
    widths = [first]
    while (name := f"down_blocks.{len(widths)}.conv1.weight") in weights:
        widths.append(_shape(weights, name, 5)[0])
    condition, pooled = _shape(weights, "pooled_proj.weight", 2)
    return {
        "class": "UNet3DCond",
        "in_channels": channels,
        "sample_size": 32,
        "num_frames": FRAMES,
        "block_out_channels": [*widths, _shape(weights, "mid_block.conv1.weight", 5)[0]],
        "condition_dim": condition,
        "text_dim": 512,
        "pooled_dim": pooled,
        "null_length": 0,
    }


def _shape(weights: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    shape = tuple(weights[name].shape)
    if len(shape) != dimensions:
        raise ValueError(name)
    return shape
