"""An adapter that is being trained: put beside the layers of a frozen model, named as diffusers names it in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.attention import split_attention
from t2v_core.models.lora.header import DIFFUSERS_KEY, OWN_KEY

# peft's name for what is trained, which is within the names of its parameters and not in a file.
NAME = "t2v"
ALL, ATTENTION = "all", "attention"
# Of LoraConfig, what makes the same layers again.
SAID = ("r", "lora_alpha", "lora_dropout", "target_modules")


@dataclass(frozen=True)
class LoraSettings:
    """alpha: the adapter counts alpha / rank times; targets: names of layers, or one of `attention` and `all`"""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    dropout: float = 0.0


@dataclass(frozen=True)
class Adapter:
    """The LoRA of a model.

    parts: the modules it lies in, by what stands before their names in a file: `denoiser`, `transformer`
    about: what a file says of the model that it was trained for
    """

    settings: LoraSettings
    parts: Mapping[str, nn.Module]
    configs: Mapping[str, LoraConfig]
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def beside(
        cls,
        parts: Mapping[str, nn.Module],
        settings: LoraSettings,
        usual: tuple[str, ...],
        about: Mapping[str, Any] | None = None,
    ) -> Adapter:
        """Freeze modules and put an adapter beside their layers; it changes nothing until it is trained.

        usual: what `attention` means for this kind of model
        Raises InvalidRequest for names that no layer has.
        """
        configs = {}
        for prefix, module in parts.items():
            module.requires_grad_(False)
            split_attention(module)
            targets = _targets(module, settings.targets, usual)
            config = LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft takes any number, and files have such
                lora_dropout=settings.dropout,
                target_modules=targets,
            )
            inject_adapter_in_model(config, module, adapter_name=NAME)
            for name, parameter in module.named_parameters():
                if f".{NAME}." in name:  # peft takes the base's type, and half precision cannot hold small steps
                    parameter.data = parameter.data.float()
            configs[prefix] = config
        return cls(settings, parts, configs, about or {})

    def parameters(self) -> dict[str, nn.Parameter]:
        """Return what is trained, by its name in a file."""
        return {
            f"{prefix}.{_in_file(name)}": parameter
            for prefix, module in self.parts.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def named(self, averages: list[Tensor]) -> dict[str, Tensor]:
        """Return tensors that are in the order of `parameters`, by their names in a file."""
        return dict(zip(self.parameters(), averages, strict=True))

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the values of a file. Raises KeyError for one that lacks a name."""
        for name, parameter in self.parameters().items():
            parameter.copy_(tensors[name])

    def header(self) -> dict[str, str]:
        """Return the texts of a file's header: ranks and alphas for diffusers, the model for us."""
        said = {f"{prefix}.{key}": value for prefix, c in self.configs.items() for key, value in _said(c).items()}
        return {
            "format": "pt",
            DIFFUSERS_KEY: json.dumps(said, sort_keys=True),
            OWN_KEY: json.dumps(dict(self.about), sort_keys=True),
        }


def _said(config: LoraConfig) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in SAID}
    return values | {"target_modules": sorted(values["target_modules"])}


def _in_file(name: str) -> str:
    return name.replace(f".{NAME}.", ".")


def _targets(module: nn.Module, asked: tuple[str, ...], usual: tuple[str, ...]) -> list[str]:
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv3d)]
    if asked == (ALL,):
        return [name for name in linear if isinstance(module.get_submodule(name), nn.Linear)]
    names = usual if asked == (ATTENTION,) else asked
    for target in names:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            known = sorted({name.rpartition(".")[2] for name in linear} - {str(i) for i in range(10)})
            raise InvalidRequest(
                f"no layer of this model is called {target}",
                hint=f"--lora-targets takes attention, all, or names such as {', '.join(known[:8])}",
            )
    return list(names)
