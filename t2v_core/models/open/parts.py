"""The parts of an open model's folder: each is loaded when it is first used, and is on the device as long as it works.

A folder in diffusers' layout has a `model_index.json`, which names the class of each part, and a folder a part.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest
from t2v_core.models.compiling import compile_layers
from t2v_core.models.lean_imports import bring_back
from t2v_core.models.loading import UNLOADABLE, pick_dtype, quiet
from t2v_core.models.lora.files import Lora, put_beside
from t2v_core.models.open.layout import INDEX, TEXT, TRANSFORMERS, part_names
from t2v_core.models.open.quantizing import quantize

LIBRARIES = ("diffusers", "transformers")


@dataclass(frozen=True)
class Placing:
    """Where parts compute, and in what.

    offload: `none` keeps every part on the device; `model` has only the one there that works; `group` brings a
        transformer and a text encoder there block by block
    tiling: the VAE works on one piece of a picture after the other
    quantize: weights of transformers and text encoders are kept in 8 or 4 bits, as `int8` or `nf4`
    compiled: the transformers' layers are compiled when they are first used
    """

    device: torch.device
    dtype: torch.dtype
    offload: str = "none"
    tiling: bool = False
    quantize: str = "none"
    compiled: bool = False


@dataclass
class Parts:
    """See above.

    loaded: those that are in memory, by name; in_float32: those that compute in it whatever was asked for
    loras: adapters that transformers get as they are loaded; tuned: a file of weights that they take instead of theirs
    """

    folder: Path
    placing: Placing
    in_float32: tuple[str, ...] = ()
    loras: tuple[Lora, ...] = ()
    tuned: Path | None = None
    loaded: dict[str, Any] = field(default_factory=dict)
    _empty: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index = read_table(self.folder / INDEX)

    @property
    def names(self) -> list[str]:
        """Return the parts that this model has, of those that t2v uses."""
        return part_names(self.index)

    def empty(self, name: str) -> Any:
        """Return the part without weights, on no device: its configuration, and what follows from it."""
        if name not in self._empty:
            with self._told_of(name), torch.device("meta"), quiet():
                self._empty[name] = self._without_weights(name)
        return self._empty[name]

    def config(self, name: str) -> Any:
        """Return the configuration of a part, with the defaults of its class."""
        return self.empty(name).config

    def kind(self, name: str) -> str:
        """Return the class of a part, by its name in its library."""
        return str(self.index[name][1])

    def said(self, name: str) -> dict[str, Any]:
        """Return what the `config.json` of a part says; its class may have defaults beside."""
        with self._told_of(name):
            return read_table(self.folder / name / "config.json")

    def count(self, name: str) -> int:
        """Return how many parameters a part has."""
        return sum(parameter.numel() for parameter in self.empty(name).parameters())

    def use(self, name: str, *, beside: bool = False) -> Any:
        """Return a part, loaded, and on the device if it computes.

        beside: what is on the device now stays there, for one small thing in the middle of something else
        """
        if name not in self.loaded:
            self.loaded[name] = self._load(name)
        part = self.loaded[name]
        if not isinstance(part, torch.nn.Module) or self.placing.offload == "none" or self._is_streamed(name):
            return part
        if not beside:
            for other in self.loaded.values():
                if other is not part and isinstance(other, torch.nn.Module) and not hasattr(other, "_streamed"):
                    other.to("cpu")
        return part.to(self.placing.device)

    def rest(self, *names: str) -> None:
        """Say that parts are not needed any more; with offloading, text encoders leave memory, the others the device.

        Weights of a text encoder are often more than the transformer's, and it works once a prompt.
        """
        if self.placing.offload == "none":
            return
        for name in names:
            part = self.loaded.get(name)
            if name in TEXT:
                self.loaded.pop(name, None)
            elif isinstance(part, torch.nn.Module) and not self._is_streamed(name):
                part.to("cpu")

    def forget(self, *names: str) -> None:
        """Let parts go, wherever they are: nothing asks for them again soon."""
        for name in names:
            self.loaded.pop(name, None)

    def _is_streamed(self, name: str) -> bool:
        return self.placing.offload == "group" and name != "vae"

    def _class(self, name: str) -> Any:
        library, kind = self.index[name]
        if library == "transformers":
            bring_back()
        if library not in LIBRARIES or not hasattr(importlib.import_module(library), kind):
            raise InvalidRequest(
                f"{self.folder / INDEX} names a {name} that is not known here: {library}.{kind}",
                hint="update diffusers and transformers, or name another --model",
            )
        return getattr(importlib.import_module(library), kind)

    def _without_weights(self, name: str) -> Any:
        kind, folder = self._class(name), self.folder / name
        if self.index[name][0] == "diffusers":
            return kind.from_config(kind.load_config(folder, local_files_only=True))
        return kind(kind.config_class.from_pretrained(folder, local_files_only=True))

    def _load(self, name: str) -> Any:
        kind, folder = self._class(name), self.folder / name
        if name.startswith(("tokenizer", "scheduler")):
            with self._told_of(name), quiet():
                return kind.from_pretrained(folder, local_files_only=True)
        key = "torch_dtype" if self.index[name][0] == "diffusers" else "dtype"
        with self._told_of(name), quiet():
            part = kind.from_pretrained(folder, local_files_only=True, **{key: self.dtype_of(name)})
        part.eval().requires_grad_(False)
        if name == "vae" and self.placing.tiling:
            part.enable_tiling()
        if name in TRANSFORMERS:
            self._trained(name, part)
        if name != "vae" and self.placing.quantize != "none":
            quantize(part, self.placing.quantize, self.placing.dtype)
        if name in TRANSFORMERS and self.placing.compiled:
            compile_layers(part)
        if self._is_streamed(name):
            return self._streamed(name, part)
        return part.to(self.placing.device) if self.placing.offload == "none" else part

    def _trained(self, name: str, part: Any) -> None:
        """Give a transformer what was trained on it: all of its weights, or adapters beside them."""
        if self.tuned is not None:
            start = f"{name}."
            with safe_open(self.tuned, framework="pt") as file, self._told_of(name):
                own = [key for key in sorted(file.keys()) if key.startswith(start)]
                part.load_state_dict({key.removeprefix(start): file.get_tensor(key) for key in own})
        put_beside(part, name, self.loras)

    def dtype_of(self, name: str) -> torch.dtype:
        """Return what a part computes in: as asked, and a VAE never in fp16, where flat areas show steps."""
        is_exact = name in self.in_float32 or (name == "vae" and self.placing.dtype is torch.float16)
        return torch.float32 if is_exact else self.placing.dtype

    def _streamed(self, name: str, part: Any) -> Any:
        from diffusers.hooks import apply_group_offloading  # 1 s that others need not pay

        device = self.placing.device
        by_block = {"offload_type": "block_level", "num_blocks_per_group": 1} if name in TRANSFORMERS else {}
        apply_group_offloading(
            part,
            onload_device=device,
            offload_device=torch.device("cpu"),
            use_stream=device.type == "cuda",
            **({"offload_type": "leaf_level"} | by_block),
        )
        part._streamed = True
        return part

    def _told_of(self, name: str) -> Any:
        return _Unloadable(self.folder / name)


class _Unloadable:
    """While inside, what a library says of files it cannot load becomes one sentence."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, UNLOADABLE) and "out of memory" not in str(error):
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InvalidRequest(
                f"{self.folder} cannot be loaded: {first}", hint="fetch the model again, or name another --model"
            ) from error


def arithmetic(precision: str, device: torch.device) -> torch.dtype:
    """Return what an open model computes in: as asked, and `auto` is bf16 where there is one, else fp32.

    Most families are black in fp16.
    """
    dtype = pick_dtype(precision, device)
    return torch.float32 if precision == "auto" and dtype is torch.float16 else dtype
