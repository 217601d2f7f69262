"""AdamW with its moments in 8 bits, a quarter of their memory; bitsandbytes takes the steps, where it is installed.

Values of a block share a scale, and small tensors stay in float32. Source: Dettmers et al. 2022 (8-bit Optimizers via
Block-wise Quantization).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from t2v_core.errors import InvalidRequest

NAME, PACKAGE = "adamw8bit", "bitsandbytes"
# Tensors with fewer values have moments in float32.
LEAST_VALUES, BLOCK_VALUES = 4096, 256
# What a tensor's state is made of, beside the tables that all of them share.
STATE = ("state1", "state2", "absmax1", "absmax2")
TABLES = {"qmap1": "dynamic", "qmap2": "udynamic"}
STEP = "bitsandbytes::optimizer_update_8bit_blockwise"


def is_installed() -> bool:
    """Tell whether the package is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def is_there_for(device: torch.device) -> bool:
    """Tell whether the package is installed, and has such a step for the device."""
    if not is_installed():
        return False
    importlib.import_module(PACKAGE)  # registers its steps
    return torch._C._dispatch_has_computed_kernel_for_dispatch_key(STEP, device.type.upper())


def require_it(device: torch.device) -> None:
    """Raise InvalidRequest where the package is not installed, or has no such step for the device."""
    if not is_installed():
        raise InvalidRequest(
            f"--optimizer {NAME} needs {PACKAGE}, which is not installed here",
            hint=f"pip install {PACKAGE} into t2v's environment, or leave --optimizer out",
        )
    if not is_there_for(device):
        raise InvalidRequest(
            f"--optimizer {NAME} needs {PACKAGE} for {device.type}, and the one that is installed is made without it",
            hint=f"pip install --upgrade {PACKAGE}, or leave --optimizer out",
        )


def make_eight_bits(parameters: Iterable[nn.Parameter], **settings: Any) -> Any:
    """Make the optimiser. settings: of AdamW"""
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit(parameters, **settings)


def as_it_has_it(optimizer: Any, state: dict[str, Tensor]) -> dict[str, Any]:
    """Return a tensor's state of a file as the optimiser has it: with a count, and the tables of what codes mean."""
    packed = state["state1"].dtype is torch.uint8
    tables = {key: optimizer.name2qmap[name].to(state["state1"].device) for key, name in TABLES.items()}
    return {**state, "step": int(state["step"]), **(tables if packed else {})}


def moments_bytes(sizes: Iterable[int], optimizer: str) -> int:
    """Return what an optimiser's two moments take. sizes: values of each tensor that is trained"""
    if optimizer != NAME:
        return 2 * torch.float32.itemsize * sum(sizes)
    return sum(
        2 * (size + torch.float32.itemsize * -(-size // BLOCK_VALUES)) if size >= LEAST_VALUES
        else 2 * torch.float32.itemsize * size
        for size in sizes
    )  # fmt: skip
