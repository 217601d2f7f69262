"""Weights in 8 or 4 bits: the same road for every family, over the linear layers of the blocks that a part repeats.

What stands before and after the blocks (embeddings, time, the last projection) is small and stays as it is, as do the
VAE and adapters.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from t2v_core.errors import InvalidRequest
from t2v_core.models.lora.header import is_of_adapter

# Which package does it, and what a weight then takes: a byte, or half a one and a float32 for each 64.
PACKAGES = {"int8": "torchao", "nf4": "bitsandbytes"}
BYTES = {"int8": 1.0, "nf4": 0.5 + 4 / 64}


def is_installed(how: str) -> bool:
    """Tell whether the package for it is there."""
    return importlib.util.find_spec(PACKAGES[how]) is not None


def require_installed(how: str) -> None:
    """Raise InvalidRequest where the package for it is not there."""
    if how in PACKAGES and not is_installed(how):
        raise InvalidRequest(
            f"--quantize {how} needs {PACKAGES[how]}, which is not installed here",
            hint=f"pip install {PACKAGES[how]} into t2v's environment, or use --offload model",
        )


def quantizable(part: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the layers that are quantized, by name: linear ones of repeated blocks; of adapters none."""
    kinds = set(getattr(part, "_repeated_blocks", None) or getattr(part, "_no_split_modules", None) or ())
    for block, module in part.named_modules():
        # A number at the end of its name: one of a list. CogVideoX names its embedding of patches beside its blocks.
        if type(module).__name__ in kinds and block.rpartition(".")[2].isdigit():
            for name, layer in module.named_modules():
                if type(layer) is nn.Linear and not is_of_adapter(name):
                    yield f"{block}.{name}", layer


def quantized_bytes(part: nn.Module, how: str, plain: int) -> int:
    """Return what the weights of a part take. plain: bytes of a value that stays as it is"""
    inside = sum(layer.weight.numel() for _, layer in quantizable(part))
    return packed_bytes(inside, sum(p.numel() for p in part.parameters()), how, plain)


def packed_bytes(inside: int, weights: int, how: str, plain: int) -> int:
    """Return what so many weights take, of which those inside blocks are packed. plain: bytes of one that is not"""
    return int(inside * BYTES[how]) + (weights - inside) * plain


def quantize(part: nn.Module, how: str, dtype: torch.dtype) -> None:
    """Quantize a part in its place. dtype: what it computes in"""
    layers = dict(quantizable(part))
    if how == "int8":
        _to_int8(part, set(layers))
    else:
        _to_nf4(part, layers, dtype)


def _to_int8(part: nn.Module, names: set[str]) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(part, Int8WeightOnlyConfig(), filter_fn=lambda _layer, name: name in names)


def unpack_anew(part: nn.Module) -> None:
    """Have layers in int8 unpack their weights in a backward pass too.

    torchao keeps what it unpacked in the forward pass until then: of every layer, so that training would hold the
    weights as if they were not packed, and packed beside.
    """
    from torchao.utils import TorchAOBaseTensor

    for layer in part.modules():
        if isinstance(layer, nn.Linear) and isinstance(layer.weight, TorchAOBaseTensor):
            layer.forward = partial(_answer, layer)  # type: ignore[method-assign]


def _answer(layer: nn.Linear, x: Tensor) -> Tensor:
    apply: Callable[[Tensor, nn.Linear], Tensor] = _Unpacking.apply
    return apply(x, layer) if x.requires_grad else linear(x, layer.weight, layer.bias)


class _Unpacking(torch.autograd.Function):
    """A frozen linear layer: x → W·x + b, of which x alone has a gradient, Wᵀ·g."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Linear) -> Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        return linear(x, layer.weight, layer.bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight: Any = ctx.layer.weight
        return (gradient @ weight.dequantize().to(gradient.dtype)).to(ctx.dtype), None


def _to_nf4(part: nn.Module, layers: dict[str, nn.Linear], dtype: torch.dtype) -> None:
    """Values are packed when a layer first comes to a device."""
    import bitsandbytes as bnb

    for name, layer in layers.items():
        has_bias = layer.bias is not None
        packed: Any = bnb.nn.Linear4bit(
            layer.in_features, layer.out_features, has_bias, compute_dtype=dtype, quant_type="nf4", device="meta"
        )
        packed.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        packed.bias = layer.bias
        owner, _, last = name.rpartition(".")
        setattr(part.get_submodule(owner), last, packed)
