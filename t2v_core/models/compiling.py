"""Regional compilation: torch compiles the layers that a model repeats, once for all that are alike."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from t2v_core.specs import AutoYesNo, SamplingSpec

if TYPE_CHECKING:
    from diffusers.models.modeling_utils import ModelMixin

# Compiling takes about as long as some hundred passes of a model whose passes are short. How long on which GPU has not
# been measured by us.
ENOUGH_PASSES = 2000
COMPILERS = {"CXX": ("g++", "clang++"), "CC": ("gcc", "clang", "cc")}


def pays_to_compile(asked: AutoYesNo, device: torch.device, passes: int, warn: Callable[[str, str], object]) -> bool:
    """Tell whether a model's layers are to be compiled.

    asked:  `auto` compiles on a GPU what takes 2,000 passes and more
    passes: forward passes of the whole run, so that a resumed one is decided as it was at its start
    warn:   told what is missing where it would be worth it, and what to do about it
    """
    is_worth_it = device.type == "cuda" and passes >= ENOUGH_PASSES
    if asked == "no" or (asked == "auto" and not is_worth_it):
        return False
    if missing := missing_compiler(device):
        warn(f"the model is not compiled, for want of {missing}", "install it (apt: build-essential python3-dev)")
        return False
    return True


def compile_layers(model: ModelMixin, **how: Any) -> int:
    """Have the layers that a model repeats compiled when each is first used; returns how many they are.

    Names and values of its weights stay as they are. Which layers they are says the model, by diffusers' convention.
    how: what `torch.compile` takes
    """
    layers = repeated_layers(model)
    for layer in layers:
        if layer._compiled_call_impl is None:  # a model that is kept for several videos comes here for each
            layer.compile(**how)
    return len(layers)


def leave_uncompiled(model: ModelMixin) -> None:
    """Have a model's layers run as they are written, also those that an earlier video had compiled."""
    for layer in repeated_layers(model):
        layer._compiled_call_impl = None


def repeated_layers(model: ModelMixin) -> list[nn.Module]:
    """Return the layers that a model repeats, also when their weights are divided, which renames their class."""
    kinds = set(model._repeated_blocks or model._no_split_modules or ())
    return [module for module in model.modules() if type(module).__name__.removeprefix("FSDP") in kinds]


def sampling_passes(spec: SamplingSpec, videos: int = 1) -> int:
    """Return the passes of so many videos, about: guidance takes two a step."""
    steps: int = getattr(spec, "steps", 1)
    return videos * steps * (1 if spec.guidance_scale == 1 else 2)


def missing_compiler(device: torch.device) -> str | None:
    """Return what torch would want to compile for a device and does not find, in words; None when it is all there."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's headers (Python.h)"
    variable, words = ("CC", "a C compiler") if device.type == "cuda" else ("CXX", "a C++ compiler")
    named = os.environ.get(variable)
    found = any(shutil.which(name) for name in ([named] if named else COMPILERS[variable]))
    return None if found else words


def recompilations() -> int:
    """Return how many times in this process torch compiled something again that it had compiled for other shapes."""
    import torch._dynamo.utils as dynamo

    return int(sum(dynamo.counters["recompiles"].values()))
