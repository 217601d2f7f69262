"""How much memory a training step takes, reckoned without taking it: a step on fake tensors, whose bytes are counted.

The whole forward and backward pass runs on torch's fake tensors, which have shapes and no data, so the count holds for
any denoiser, with autocast, gradient checkpointing and fused attention as the real step has them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from t2v_core.models.denoisers.by_name import make_denoiser
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.live_bytes import LiveBytes
from t2v_core.models.lora.adapter import Adapter, LoraSettings
from t2v_core.training.forecast.flops import TEXT_TOKENS
from t2v_core.training.optimizers.eight_bits import NAME as EIGHT_BITS
from t2v_core.training.optimizers.eight_bits import moments_bytes
from t2v_core.training.trained import trained

# AdamW's moments and the averaged weights are float32, whatever the arithmetic; so are the weights themselves.
BYTES = 4
# Trainings of 1 M to 187 M weights held that much more than their tensors, for the gaps of glibc's heap; where
# convolutions compute, oneDNN's reordered copies came on top.
HEAP_GAPS_SHARE, CONVOLUTION_SHARE = 0.36, 0.64
# Code and buffers that come with the first step.
FIRST_STEP_BYTES = 10_000_000
# A stack of equal layers takes memory that is linear in their number: two short stacks tell of a long one.
DEPTH = "num_layers"


@dataclass(frozen=True)
class StepMemory:
    """Bytes at the fullest moment of a training step, by part.

    activations: what the forward pass keeps for the backward pass, and temporaries of both
    framework: the process without the run: libraries, and on a GPU its context
    scratch: the optimiser's temporaries, which come when the activations are gone
    allocator: on the CPU, what the process holds beyond its tensors
    latents: of a data set held in memory, on the CPU
    accumulates: gradients of earlier forward passes are there while the last one runs
    """

    weights: int
    gradients: int
    adam: int
    ema: int
    activations: int
    framework: int
    scratch: int
    allocator: int = 0
    latents: int = 0
    accumulates: bool = False

    @property
    def lasting(self) -> int:
        """Return what is there at any moment of a run."""
        return self.weights + self.adam + self.ema + self.framework + self.allocator + self.latents

    @property
    def peak_in_backward(self) -> int:
        """Return what is there when the backward pass begins, with all activations."""
        return self.lasting + self.activations + (self.gradients if self.accumulates else 0)

    @property
    def peak(self) -> int:
        """Return the larger of that and what is there when the optimiser steps, with all gradients."""
        return max(self.peak_in_backward, self.lasting + self.gradients + self.scratch)

    def by_part(self) -> dict[str, int]:
        """Return the bytes as `MemoryPart` has them, the peak among them."""
        parts = ("weights", "gradients", "adam", "ema", "activations", "framework", "allocator", "latents", "scratch")
        return {f"{name}_bytes": getattr(self, name) for name in (*parts, "peak")}


@dataclass(frozen=True)
class StepShape:
    """What a step's memory depends on beside the model.

    dtype: of the arithmetic; anything but float32 is autocast over float32 weights
    text_tokens: of the longest caption of a batch
    """

    batch_size: int
    dtype: torch.dtype = torch.float32
    gradient_checkpointing: bool = False
    gradient_accumulation: int = 1
    text_tokens: int = TEXT_TOKENS


def step_memory(
    config: Mapping[str, Any],
    step: StepShape,
    *,
    device: str,
    framework: int,
    latents: int,
    lora: LoraSettings | None = None,
    averages: int = 1,
    optimizer: str = "adamw",
) -> StepMemory:
    """Reckon one training step of the denoiser that `config` describes, on a `cpu`, `cuda` or `mps` device.

    framework: bytes of the process without the run; latents: bytes of a data set held in the same memory
    lora: of the adapter that is trained in the place of the denoiser; what lies between the layers is taken as its own
    averages: of the weights, which are kept beside them
    """
    model = without_data(config, lora)
    sizes = [parameter.numel() for parameter in trained(model).values()]
    weights = sum(sizes) * BYTES
    held = activations(config, step)
    return StepMemory(
        weights=sum(parameter.numel() for parameter in model.parameters()) * BYTES,
        gradients=weights,
        adam=moments_bytes(sizes, optimizer),
        ema=averages * weights,
        activations=held.peak,
        framework=framework,
        scratch=scratch_bytes(sizes, optimizer, device),
        allocator=_allocator_bytes(held, weights, model) if device == "cpu" else 0,
        latents=latents,
        accumulates=step.gradient_accumulation > 1,
    )


def scratch_bytes(sizes: Sequence[int], optimizer: str, device: str) -> int:
    """Return what the optimiser's step takes beside its state. sizes: values of each tensor that is trained"""
    # On CUDA, AdamW takes the root of all second moments at once; elsewhere it goes through the weights one by one.
    at_once = device == "cuda" and optimizer != EIGHT_BITS
    return (sum(sizes) if at_once else 2 * max(sizes)) * BYTES


def parameter_count(config: Mapping[str, Any], lora: LoraSettings | None = None) -> int:
    """Return how many parameters the denoiser of `config`, or its adapter, has; no memory is taken for them."""
    return sum(parameter.numel() for parameter in trained(without_data(config, lora)).values())


def without_data(config: Mapping[str, Any], lora: LoraSettings | None = None) -> Denoiser:
    """Make the denoiser of `config`, with an adapter beside it where there is to be one, with shapes and no data."""
    with torch.device("meta"):
        model = make_denoiser(config)
        if lora is not None:
            Adapter.beside(model.adapted_parts(), lora, model.adapter_targets)
        return model


@dataclass(frozen=True)
class Activations:
    """Bytes that forward and backward pass hold at their fullest moment, beside weights and gradients.

    small: of these, in blocks that a heap would give
    """

    peak: int
    small: int


def activations(config: Mapping[str, Any], step: StepShape) -> Activations:
    """Reckon the activations of the denoiser that `config` describes."""
    depth = config.get(DEPTH, 0)
    if depth <= 2:
        return simulate(config, step)
    one, two = (simulate({**config, DEPTH: layers}, step) for layers in (1, 2))
    longer = depth - 1
    return Activations(one.peak + longer * (two.peak - one.peak), one.small + longer * (two.small - one.small))


def _allocator_bytes(held: Activations, gradients: int, model: Denoiser) -> int:
    has_convolutions = any(isinstance(module, nn.Conv2d | nn.Conv3d) for module in model.modules())
    gaps = HEAP_GAPS_SHARE * (held.small + gradients)
    return int(FIRST_STEP_BYTES + gaps + (CONVOLUTION_SHARE * held.peak if has_convolutions else 0))


def simulate(config: Mapping[str, Any], step: StepShape) -> Activations:
    """Run one forward and backward pass on fake tensors."""
    return _simulate(json.dumps(dict(config), sort_keys=True), step)


@functools.cache  # an estimate asks for some of them several times, and each takes 0.1 s
def _simulate(config_json: str, step: StepShape) -> Activations:
    config = json.loads(config_json)
    autocast = nullcontext() if step.dtype == torch.float32 else torch.autocast("cpu", torch.bfloat16)
    with FakeTensorMode():
        model = make_denoiser(config)
        if step.gradient_checkpointing:
            model.enable_gradient_checkpointing()
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)  # they are counted apart
        inputs = _inputs(config, step)
        known = [*model.parameters(), *(p.grad for p in model.parameters()), *model.buffers(), *inputs]
        with LiveBytes(known) as alive:
            with autocast:
                prediction = model(*inputs)
            (prediction.float() - inputs[0]).square().mean().backward()
    return Activations(alive.peak, alive.small_at_peak)


def _inputs(config: Mapping[str, Any], step: StepShape) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Noisy latents, timesteps, text, its mask and the pooled text."""
    batch, tokens, side = step.batch_size, step.text_tokens, config["sample_size"]
    return (
        torch.empty(batch, config["num_frames"], config["in_channels"], side, side),
        torch.empty(batch),
        torch.empty(batch, tokens, config["text_dim"]),
        torch.ones(batch, tokens, dtype=torch.bool),
        torch.empty(batch, config["pooled_dim"]),
    )
