"""The denoisers there are, by the name that a configuration gives under `class`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.denoisers.flow_map import FlowMapTransformer
from t2v_core.models.denoisers.unet3d_film import UNet3DCond
from t2v_core.models.denoisers.video_transformer import VideoTransformer

DENOISERS: dict[str, type[Denoiser]] = {cls.__name__: cls for cls in (VideoTransformer, FlowMapTransformer, UNet3DCond)}
# Checkpoints from before there was a second one do not say which it is.
FIRST = VideoTransformer.__name__


def denoiser_class(config: Mapping[str, Any]) -> type[Denoiser]:
    """Return the denoiser that a configuration is of. Raises ValueError for a name that is not known here."""
    name = config.get("class", FIRST)
    if name not in DENOISERS:
        raise ValueError(f"this t2v has no {name}")
    return DENOISERS[name]


def make_denoiser(config: Mapping[str, Any]) -> Denoiser:
    """Make an untrained denoiser. Raises ValueError with the word, class or setting, that is not known here."""
    chosen = denoiser_class(config)
    settings = {name: value for name, value in config.items() if name != "class"}
    unknown = ", ".join(sorted(settings.keys() - inspect.signature(chosen).parameters.keys()))
    if unknown:
        raise ValueError(f"this t2v's {chosen.__name__} has no {unknown}")
    return chosen(**settings)


def denoiser_config(model: Denoiser) -> dict[str, Any]:
    """Return what `make_denoiser` makes the same architecture from: JSON-ready, for a checkpoint."""
    settings: Any = model.config
    return {"class": type(model).__name__} | {k: v for k, v in settings.items() if not k.startswith("_")}
