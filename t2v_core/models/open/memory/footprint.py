"""How much memory an open model takes to make a video, reckoned from its configuration.

What a part holds while it works is counted on tensors that have shapes and no data. Without gradients nothing is
kept from one block to the next, so two blocks tell of sixty; a VAE's share is linear in frames once it has its stride,
and a tile's is as large as its picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from t2v_core.models.conditioning import Conditioning
from t2v_core.models.live_bytes import CUDA_CONTEXT_BYTES, LiveBytes
from t2v_core.models.loading import quiet
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.layout import TEXT, TRANSFORMERS
from t2v_core.models.open.memory.text_sizes import TextSizes, text_sizes
from t2v_core.models.open.quantizing import PACKAGES, packed_bytes, quantizable, quantized_bytes

DEPTHS = ("num_layers", "num_single_layers", "num_refiner_layers")
# Frames of latents that are simulated where there are more. VAEs take one, two or three at a time, the first of them
# otherwise; six frames are as many steps of each.
FEW_FRAMES = (5, 11)


@dataclass(frozen=True)
class Footprint:
    """Bytes of one video at a time, by part of the model.

    weights: as they are computed with; blocks: of a transformer's weights, the share that one block has
    sampling, decoding, tiled: what transformer and VAE hold while they work, beside weights
    context: of the device's own
    quantized: the weights when they are so, by how; unpacked: of a quantized layer at work, as it is computed with
    """

    weights: dict[str, int]
    blocks: float
    sampling: int
    decoding: int
    tiled: int
    context: int = 0
    quantized: dict[str, dict[str, int]] = field(default_factory=dict)
    unpacked: int = 0

    def peak(self, offload: str, *, is_tiled: bool, quantize: str = "none") -> int:
        """Return the bytes on the device at the fullest moment."""
        weights = self.quantized.get(quantize, self.weights)
        text = sum(count for name, count in weights.items() if name.startswith("text_encoder"))
        transformers = [weights[name] for name in TRANSFORMERS if name in weights]
        vae, decoding = weights["vae"], self.tiled if is_tiled else self.decoding
        sampling = self.sampling + (self.unpacked if quantize in self.quantized else 0)
        if offload == "none":
            return self.context + text + sum(transformers) + vae + max(sampling, decoding)
        streamed = 2 * self.blocks if offload == "group" else 1.0  # the next block comes while one computes
        text_there = 0 if offload == "group" else text
        transformer = int(max(transformers) * min(1.0, streamed))
        return self.context + max(text_there, transformer + sampling, vae + decoding)


def footprint(model: OpenModel, frames: int, height: int, width: int) -> Footprint:
    """Reckon what a video of that shape takes. No weights are needed."""
    shape = model.latent_shape(frames, height, width)
    weights = weights_of(model)
    depth = sum(int(model.parts.config("transformer").get(name) or 0) for name in DEPTHS)
    decoding, tiled = _decoding(model, shape)
    return Footprint(
        weights=weights,
        blocks=1 / max(1, depth),
        sampling=_sampling(model, shape),
        decoding=decoding,
        tiled=tiled,
        context=CUDA_CONTEXT_BYTES if model.device.type == "cuda" else 0,
        quantized={how: weights | _quantized(model, how, weights) for how in PACKAGES},
        unpacked=largest_layer(model) * _bytes(model, "transformer"),
    )


def weights_of(model: OpenModel) -> dict[str, int]:
    """Return the bytes of each part's weights, as they are computed with."""
    return {
        name: count_of(model, name) * _bytes(model, name)
        for name in model.parts.names
        if not name.startswith(("tokenizer", "scheduler"))
    }


def count_of(model: OpenModel, name: str) -> int:
    """Return how many weights a part has."""
    sizes = _text_sizes(model, name)
    return model.parts.count(name) if sizes is None else sizes.weights


def _text_sizes(model: OpenModel, name: str) -> TextSizes | None:
    return text_sizes(model.parts.kind(name), model.parts.said(name)) if name in TEXT else None


def _quantized(model: OpenModel, how: str, weights: dict[str, int]) -> dict[str, int]:
    """What is smaller then: transformers and text encoders."""
    found = {}
    for name in (name for name in weights if name != "vae"):
        sizes, plain = _text_sizes(model, name), _bytes(model, name)
        if sizes is None:
            found[name] = quantized_bytes(model.parts.empty(name), how, plain)
        else:
            found[name] = packed_bytes(sizes.inside, sizes.weights, how, plain)
    return found


def largest_layer(model: OpenModel) -> int:
    """Return how many weights the largest layer has that can be quantized."""
    return max((layer.weight.numel() for _, layer in quantizable(model.parts.empty("transformer"))), default=0)


def _bytes(model: OpenModel, name: str) -> int:
    return torch.empty(0, dtype=model.parts.dtype_of(name)).element_size()


def _empty(model: OpenModel, name: str, dtype: torch.dtype, **changes: Any) -> Any:
    """A part of its own, in that arithmetic; within a mode of fake tensors, or on the meta device, it has no data."""
    empty, before = model.parts.empty(name), torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # fake parameters cannot be converted
    try:
        return type(empty).from_config(dict(empty.config) | changes).eval()
    finally:
        torch.set_default_dtype(before)


class OnDevice(TorchFunctionMode):
    """While inside, operations hold what they hold on a GPU though there is no data.

    Attention holds its result, where torch would make a matrix without data, and a mask of yes and no becomes numbers.
    Which tokens are real is not known, so they all are (Mochi leaves padding out).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | (kwargs or {})
        if func is torch.nonzero:
            return args[0].new_empty(args[0].numel(), args[0].dim(), dtype=torch.long)
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, mask = given["query"], given.get("attn_mask")
        numbers = None if mask is None else mask.to(query.dtype)
        result = query.new_empty(*query.shape[:-1], given["value"].shape[-1])
        del numbers  # held until there is a result
        return result


def _sampling(model: OpenModel, shape: tuple[int, int, int, int]) -> int:
    config, dtype = model.parts.config("transformer"), model.dtype
    fewer = {name: min(2, int(config[name])) for name in DEPTHS if config.get(name)}
    # Not on the meta device: Mochi switches autocast off, which has to know the device.
    with FakeTensorMode(), torch.no_grad(), quiet():
        transformer = _empty(model, "transformer", dtype, **fewer)
        x = torch.empty(1, shape[1], shape[0], *shape[2:], dtype=dtype)
        tokens = torch.empty(1, model.text_length, model.text_width, dtype=dtype)
        mask = torch.ones(1, model.text_length, dtype=torch.bool)
        text = Conditioning(tokens, mask, torch.empty(1, model.pooled_width, dtype=dtype))
        timesteps = torch.zeros(1)
        with LiveBytes([*transformer.parameters(), *transformer.buffers(), x, tokens, mask]) as alive, OnDevice():
            model.forward(transformer, x, timesteps, text, 1.0)
    return alive.peak


def _decoding(model: OpenModel, shape: tuple[int, int, int, int]) -> tuple[int, int]:
    """What the VAE holds for the whole picture; and in tiles: one at work beside all of them, then put together."""
    frames, _, rows, columns = shape
    few, more = FEW_FRAMES
    whole = _decode(model, min(frames, more), rows, columns)
    if frames > more:
        by_frame = (whole - _decode(model, few, rows, columns)) / (more - few)
        whole += int((frames - more) * by_frame)
    tiles = [(tall, wide) for tall in _lengths(model, "height", rows) for wide in _lengths(model, "width", columns)]
    if len(tiles) == 1:
        return whole, whole
    picture = rows * columns
    video = 3 * ((frames - 1) * model.ratios[0] + 1) * picture * model.ratios[1] ** 2 * _bytes(model, "vae")
    peak = kept = 0
    for tall, wide in tiles:
        peak = max(peak, kept + whole * tall * wide // picture)
        kept += video * tall * wide // picture
    return whole, max(peak, kept + model.copies_of_tiles * video)


def _lengths(model: OpenModel, side: str, latents: int) -> list[int]:
    """How long each tile along one side is, in latents; they lie over each other's edges."""
    vae, pixels = model.parts.empty("vae"), model.ratios[1]
    length = max(1, getattr(vae, f"tile_sample_min_{side}") // pixels)
    if length >= latents:
        return [latents]
    if (stride := getattr(vae, f"tile_sample_stride_{side}", None)) is None:
        stride = pixels * int(length * (1 - getattr(vae, f"tile_overlap_factor_{side}")))
    return [min(length, latents - start) for start in range(0, latents, max(1, stride // pixels))]


def _decode(model: OpenModel, frames: int, rows: int, columns: int) -> int:
    dtype = model.parts.dtype_of("vae")
    with torch.device("meta"), torch.no_grad():
        vae = _empty(model, "vae", dtype)
        z = torch.empty(1, model.latent_channels, frames, rows, columns, dtype=dtype)
        with LiveBytes([*vae.parameters(), *vae.buffers(), z]) as alive, OnDevice():
            model.pixels_of(vae, z).float().to(torch.uint8)  # as `OpenModel.decode` ends, in place
    return alive.peak
