"""How much memory a training step of an open model takes, reckoned from its configuration: no weights are needed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from t2v_core.events.estimated import DataFacts
from t2v_core.models.conditioning import Conditioning
from t2v_core.models.live_bytes import LiveBytes
from t2v_core.models.loading import quiet
from t2v_core.models.lora.adapter import Adapter, LoraSettings
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.denoiser import NO_GUIDANCE, EveryTokenIsReal
from t2v_core.models.open.layout import TRANSFORMERS
from t2v_core.models.open.memory.footprint import DEPTHS, largest_layer
from t2v_core.models.open.quantizing import quantized_bytes
from t2v_core.specs import TrainSpec
from t2v_core.training.base.base import lora_settings
from t2v_core.training.forecast.machines import Machine
from t2v_core.training.forecast.memory import BYTES, StepMemory, StepShape, scratch_bytes
from t2v_core.training.optimizers.eight_bits import NAME as EIGHT_BITS
from t2v_core.training.optimizers.eight_bits import moments_bytes
from t2v_core.training.trained import trained

Shape = tuple[int, int, int, int]


def open_step_memory(
    model: OpenModel,
    shape: Shape,
    step: StepShape,
    *,
    device: str,
    framework: int,
    lora: LoraSettings | None,
    quantize: str = "none",
    optimizer: str = "adamw",
) -> StepMemory:
    """Reckon one training step of an open model: of one expert where there are two, which take turns.

    shape: of a clip's latents; lora: of the adapter, None where all of the transformer is trained
    quantize: how weights beside an adapter are packed; a layer at work has its own unpacked
    optimizer: by its name
    """
    weights, sizes = _sizes(model, lora, quantize)
    learned = sum(sizes)
    unpacked = 0 if quantize == "none" else largest_layer(model) * model.dtype.itemsize
    return StepMemory(
        weights=weights,
        gradients=learned * BYTES,
        adam=moments_bytes(sizes, optimizer),
        ema=learned * BYTES,
        activations=_activations(model, shape, step, lora) + unpacked,
        framework=framework,
        scratch=scratch_bytes(sizes, optimizer, device),
        accumulates=step.gradient_accumulation > 1,
    )


def open_memory_of(spec: TrainSpec, model: OpenModel, facts: DataFacts, machine: Machine) -> StepMemory:
    """Reckon the memory of a training step of `spec` on `machine`."""
    step = StepShape(spec.batch_size, machine.dtype, spec.gradient_checkpointing, spec.gradient_accumulation)
    framework, lora = machine.framework_bytes, lora_settings(spec)
    return open_step_memory(
        model,
        facts.shape,
        step,
        device=machine.device,
        framework=framework,
        lora=lora,
        quantize=spec.quantize,
        optimizer=spec.optimizer,
    )


def open_advice(spec: TrainSpec, memory: StepMemory, machine: Machine) -> list[str]:
    """Return what to change when a step does not fit into the memory; nothing when it does."""
    if memory.peak <= machine.memory_bytes:
        return []
    flags = [
        "--lora" * (not spec.lora),
        "--gradient-checkpointing" * (not spec.gradient_checkpointing),
        "--quantize int8" * (spec.lora and spec.quantize == "none"),
        f"--optimizer {EIGHT_BITS}" * (not spec.lora and spec.optimizer == "adamw"),
        "--batch-size 1" * (spec.batch_size > 1),
    ]
    smaller = "fewer --frames or a smaller --height and --width of t2v preprocess, or a GPU with more memory (--gpu)"
    return [*(flag for flag in flags if flag), smaller]


def trained_parameters(model: OpenModel, lora: LoraSettings | None) -> int:
    """Return how many parameters are trained, of all transformers."""
    return sum(_sizes(model, lora)[1])


def _sizes(model: OpenModel, lora: LoraSettings | None, quantize: str = "none") -> tuple[int, list[int]]:
    """Bytes of all weights, and how many values each tensor has that is trained."""
    weights, sizes = 0, []
    for name in (name for name in TRANSFORMERS if name in model.parts.names):
        size = BYTES if lora is None else torch.empty(0, dtype=model.parts.dtype_of(name)).element_size()
        plain = model.parts.count(name) * size
        weights += plain if quantize == "none" else quantized_bytes(model.parts.empty(name), quantize, size)
        with torch.device("meta"), quiet():
            own = _transformer(model, name, {}, lora)
        counts = [parameter.numel() for parameter in trained(own).values()]
        weights += sum(counts) * BYTES if lora is not None else 0
        sizes += counts
    return weights, sizes


def _activations(model: OpenModel, shape: Shape, step: StepShape, lora: LoraSettings | None) -> int:
    """Those of all layers, told from stacks of one and of two."""
    config = model.parts.config("transformer")
    depths = {name: int(config[name]) for name in DEPTHS if config.get(name)}
    one = _simulated(model, shape, step, lora, dict.fromkeys(depths, 1))
    return one + sum(
        (count - 1) * (_simulated(model, shape, step, lora, dict.fromkeys(depths, 1) | {name: 2}) - one)
        for name, count in depths.items()
        if count > 1
    )


def _transformer(model: OpenModel, name: str, fewer: dict[str, int], lora: LoraSettings | None) -> Any:
    empty = model.parts.empty(name)
    transformer = type(empty).from_config(dict(empty.config) | fewer)
    if lora is not None:
        with torch.device("meta"):  # peft would move it, which tensors without data do not let it
            Adapter.beside({name: transformer}, lora, model.adapter_targets)
    return transformer


def _leave_meta(module: nn.Module) -> None:
    """Put parameters that are on no device where the others are."""
    for owner in module.modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            if parameter.device.type == "meta":
                setattr(owner, name, nn.Parameter(torch.empty(parameter.shape), parameter.requires_grad))


def _simulated(
    model: OpenModel, shape: Shape, step: StepShape, lora: LoraSettings | None, fewer: dict[str, int]
) -> int:
    """Bytes that a forward and a backward pass hold beside weights and gradients, on tensors without data."""
    frames, channels, rows, columns = shape
    autocast = nullcontext() if step.dtype == torch.float32 else torch.autocast("cpu", torch.bfloat16)
    with FakeTensorMode(), quiet():
        transformer = _transformer(model, "transformer", fewer, lora)
        _leave_meta(transformer)
        if lora is not None:
            for parameter in (one for one in transformer.parameters() if not one.requires_grad):
                parameter.data = parameter.data.to(model.dtype)
        if step.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        for parameter in trained(transformer).values():
            parameter.grad = torch.empty_like(parameter)  # they are counted apart
        x = torch.empty(step.batch_size, channels, frames, rows, columns, dtype=model.dtype)
        tokens = torch.empty(step.batch_size, model.text_length, model.text_width, dtype=model.dtype)
        mask = torch.ones(step.batch_size, model.text_length, dtype=torch.bool)
        text = Conditioning(tokens, mask, torch.empty(step.batch_size, model.pooled_width, dtype=model.dtype))
        known = [*transformer.parameters(), *(p.grad for p in trained(transformer).values()), *transformer.buffers()]
        with LiveBytes([*known, x, tokens, mask, text.pooled]) as alive, EveryTokenIsReal():
            with autocast:
                answer = model.forward(transformer, x, torch.zeros(step.batch_size), text, NO_GUIDANCE)
            (answer.float() - x.float()).square().mean().backward()
    return alive.peak
