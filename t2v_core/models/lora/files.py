"""Adapters in files, ours and other people's: read with nothing in them believed, and put beside a model's layers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from t2v_core.disk.opening import open_file
from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.attention import Attention, split_attention
from t2v_core.models.finite import not_finite_in, not_finite_words
from t2v_core.models.loading import UNLOADABLE, quiet
from t2v_core.models.lora.header import DIFFUSERS_KEY, OWN_KEY

if TYPE_CHECKING:
    from peft import LoraConfig

# In a folder, the first of these: averages of a checkpoint of ours, what diffusers writes, a checkpoint's last step.
IN_A_FOLDER = ("ema.safetensors", "pytorch_lora_weights.safetensors", "model.safetensors")
DOWN, UP, ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
# What names begin with in other programs' files.
FOREIGN = ("diffusion_model.", "lora_unet_")
MOST_HEADER = 2**20
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Layer:
    """What lies beside one layer of a model. down: (rank, in, …); up: (out, rank, …); it counts alpha / rank times"""

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        """Return how many numbers pass through it."""
        return self.up.shape[1]


@dataclass(frozen=True)
class Lora:
    """An adapter that was read.

    path: of its file; layers: by the name of the layer, the part of the model before it; about: what we wrote of its
    model; scale: how many times it counts
    """

    path: Path
    layers: Mapping[str, Layer]
    about: Mapping[str, Any]
    scale: float = 1.0

    def of(self, prefix: str) -> dict[str, Layer]:
        """Return the layers of one part, by their names in it."""
        start = f"{prefix}."
        return {name.removeprefix(start): layer for name, layer in self.layers.items() if name.startswith(start)}

    def require_fits(self, parts: Mapping[str, nn.Module], what: str) -> None:
        """Raise InvalidRequest for an adapter of another model. what: the model, in words"""
        family = self.about.get("family")
        if family not in (None, what):
            raise _of_another(self.path, f"it was trained for {family}, and the model is {what}")
        for name, layer in self.layers.items():
            prefix, _, within = name.partition(".")
            if (wrong := _difference(parts.get(prefix), within, layer)) is not None:
                raise _of_another(self.path, f"{name} {wrong}, and the model is {what}")


def read_lora(
    path: Path, scale: float = 1.0, *, convert: Callable[[Tensors, Mapping[str, Any]], Tensors] | None = None
) -> Lora:
    """Read an adapter. path: a safetensors file, or a folder with one of `IN_A_FOLDER`

    convert: makes diffusers' names of other programs'; it is given our part of the header as well
    Raises InvalidRequest for what is none, is damaged, or holds values that are not finite.
    """
    file = _file_of(path)
    tensors, header = _read(file)
    is_named_so = any(name.endswith(DOWN) and not name.startswith(FOREIGN) for name in tensors)
    if not is_named_so and convert is not None:
        try:
            tensors = convert(tensors, _json(header, OWN_KEY))
        except UNLOADABLE as error:
            raise _no_lora(file, f"its names are not known here: {next(iter(tensors), 'there are none')}") from error
    if not any(name.endswith(DOWN) for name in tensors):
        raise _no_lora(file, f"none of its {len(tensors)} tensors is one")
    if wrong := not_finite_in(tensors):
        raise InvalidRequest(f"{file} holds {not_finite_words(wrong)}", hint="use another LoRA")
    return Lora(file, _layers(file, tensors, _json(header, DIFFUSERS_KEY)), _json(header, OWN_KEY), scale)


def put_beside(module: nn.Module, prefix: str, loras: Sequence[Lora]) -> None:
    """Put adapters beside the layers of one part of a model, each with its scale."""
    parts = [(lora, layers) for lora in loras if (layers := lora.of(prefix))]
    if not parts:
        return
    from diffusers.utils.peft_utils import (
        set_weights_and_activate_adapters,  # 1 s that a model without one need not pay
    )
    from peft import inject_adapter_in_model, set_peft_model_state_dict

    split_attention(module)
    names = [f"lora{number}" for number in range(len(parts))]
    with quiet():
        for name, (_, layers) in zip(names, parts, strict=True):
            tensors = {f"{key}{end}": value for key, layer in layers.items() for end, value in _tensors(layer)}
            inject_adapter_in_model(_config(layers), module, adapter_name=name, state_dict=tensors)
            set_peft_model_state_dict(module, tensors, adapter_name=name)
        set_weights_and_activate_adapters(module, names, [lora.scale for lora, _ in parts])
    module.requires_grad_(False)


def _tensors(layer: Layer) -> tuple[tuple[str, Tensor], tuple[str, Tensor]]:
    return (DOWN, layer.down), (UP, layer.up)


def _config(layers: Mapping[str, Layer]) -> LoraConfig:
    """Each layer's own rank and alpha; `^` keeps a name from meaning others that end in it."""
    from peft import LoraConfig

    first = next(iter(layers.values()))
    return LoraConfig(
        r=first.rank,
        lora_alpha=first.alpha,  # type: ignore[arg-type]  # as in adapter.py
        target_modules=list(layers),
        rank_pattern={f"^{name}": layer.rank for name, layer in layers.items()},
        alpha_pattern={f"^{name}": layer.alpha for name, layer in layers.items()},
    )


def _file_of(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in IN_A_FOLDER:
        if (path / name).is_file():
            return path / name
    raise InvalidRequest(f"{path} holds no LoRA: there is no {IN_A_FOLDER[0]}", hint="name the .safetensors file")


def _read(file: Path) -> tuple[Tensors, Mapping[str, str]]:
    try:
        open_file(file).close()  # a FIFO would be waited for
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in sorted(opened.keys())}, opened.metadata() or {}
    except FileNotFoundError as error:
        raise InvalidRequest(f"there is no LoRA at {file}", hint="name a .safetensors file, or its folder") from error
    except SafetensorError as error:
        first = str(error).splitlines()[0]
        raise InvalidRequest(
            f"{file} is damaged, or no safetensors file: {first}", hint="fetch it again, or use another LoRA"
        ) from error
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror or error}", hint="use another LoRA") from error


def _json(header: Mapping[str, str], key: str) -> dict[str, Any]:
    """A text of the header as a table; what is none says nothing."""
    text = header.get(key, "")
    if not 0 < len(text) < MOST_HEADER:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        logging.getLogger(__name__).info("%s is not JSON: %s", key, error)
        return {}
    return found if isinstance(found, dict) else {}


def _layers(file: Path, tensors: Tensors, said: Mapping[str, Any]) -> dict[str, Layer]:
    layers = {}
    for name in (key.removesuffix(DOWN) for key in tensors if key.endswith(DOWN)):
        down, up = tensors[f"{name}{DOWN}"], tensors.get(f"{name}{UP}")
        if up is None or down.dim() < 2 or up.dim() < 2 or down.shape[0] != up.shape[1]:
            found = "there is no such" if up is None else "×".join(map(str, up.shape))
            raise InvalidRequest(
                f"{file} is damaged: {name}{UP} should take {down.shape[0]} numbers, and is {found}",
                hint="fetch it again, or use another LoRA",
            )
        layers[name] = Layer(down, up, _alpha(name, up.shape[1], tensors, said))
    known = {f"{name}{end}" for name in layers for end in (DOWN, UP, ALPHA)}
    if more := sorted(tensors.keys() - known):
        others = f" and {len(more) - 1} others" if len(more) > 1 else ""
        raise _no_lora(file, f"it has {more[0]}{others}, which no LoRA of plain layers has")
    return layers


def _alpha(name: str, rank: int, tensors: Tensors, said: Mapping[str, Any]) -> float:
    """As the file says it, for the layer or for all; else such that the adapter counts once."""
    if f"{name}{ALPHA}" in tensors:
        return float(tensors[f"{name}{ALPHA}"].flatten()[0])
    prefix, _, within = name.partition(".")
    patterns = said.get(f"{prefix}.alpha_pattern")
    own = patterns.get(within) if isinstance(patterns, dict) else None
    found = said.get(f"{prefix}.lora_alpha") if own is None else own
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else float(rank)


def _difference(part: nn.Module | None, name: str, layer: Layer) -> str | None:
    """Why a layer of an adapter cannot lie beside the model's of that name, in words."""
    if part is None:
        return "is of a part that it lacks"
    size = _size(part, name)
    if size is None:
        return "is a layer that it lacks"
    theirs = (layer.up.shape[0], layer.down.shape[1])
    return None if size == theirs else f"is for a layer of {_shown(theirs)}, that of the model is {_shown(size)}"


def _size(part: nn.Module, name: str) -> tuple[int, int] | None:
    """(out, in) of a layer; an attention of ours has `to_q`, `to_k` and `to_v` packed until an adapter comes."""
    owner, _, last = name.rpartition(".")
    try:
        around = part.get_submodule(owner)
        if type(around) is Attention and last in ("to_q", "to_k", "to_v"):
            width = around.in_proj_weight.shape[1]
            return width, width
        weight = getattr(part.get_submodule(name), "weight", None)
    except AttributeError:
        return None
    return (weight.shape[0], weight.shape[1]) if isinstance(weight, Tensor) and weight.dim() > 1 else None


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]} → {size[0]}"


def _of_another(file: Path, why: str) -> InvalidRequest:
    return InvalidRequest(f"the LoRA {file} is of another model: {why}", hint="name a LoRA of this model, or its model")


def _no_lora(file: Path, why: str) -> InvalidRequest:
    return InvalidRequest(f"{file} holds no LoRA that t2v can use: {why}", hint="name another file")
