"""The tricks that a run is trained with, as it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.specs import TrainSpec
from t2v_core.training.tricks.layer_sync import LayerSync
from t2v_core.training.tricks.power_averages import PowerAverages
from t2v_core.training.tricks.token_route import TokenRoute

# A route goes past at least one layer, and has one before it and one after.
FEWEST_LAYERS = {"layer_sync": 2, "token_route": 3}


@dataclass(frozen=True)
class Tricks:
    """Each is None where it was not asked for."""

    layer_sync: LayerSync | None = None
    token_route: TokenRoute | None = None
    power_averages: PowerAverages | None = None

    @classmethod
    def of(cls, spec: TrainSpec, model: nn.Module) -> Tricks:
        """Attach to a model what a spec asks for. Raises InvalidRequest where it has not the layers for it."""
        return cls(
            LayerSync(_with_layers(model, "layer_sync"), spec.layer_sync) if spec.layer_sync else None,
            TokenRoute(_with_layers(model, "token_route"), spec.token_route) if spec.token_route else None,
            PowerAverages(model) if spec.power_averages else None,
        )


def _with_layers(model: nn.Module, name: str) -> VideoTransformer:
    fewest = FEWEST_LAYERS[name]
    if not isinstance(model, VideoTransformer) or len(model.blocks) < fewest:
        raise InvalidRequest(
            f"{flag(name)} is for a transformer of t2v's own with {fewest} layers or more, and this is none",
            hint="leave it out, or train --preset base or tiny",
        )
    return model


def require_fitting(spec: TrainSpec) -> None:
    """Raise InvalidRequest for what a spec asks for that does not go together."""
    names = asked_of_layers(spec)
    words = " and ".join(map(flag, names))
    if len(names) > 1:
        raise InvalidRequest(f"{words} exclude each other: they would compare other tokens", hint="leave one out")
    for other in ("distill", "shard"):
        if names and getattr(spec, other):
            raise InvalidRequest(f"{words} does not go with {flag(other)}", hint="leave one of them out")
    if spec.power_averages and (spec.lora or spec.model is not None or spec.shard):
        raise InvalidRequest(
            "--power-averages is for whole models of t2v's own, each process with all of it",
            hint="leave it out, or --lora, --model and --shard",
        )


def asked_of_layers(spec: TrainSpec) -> list[str]:
    """Return the settings asked for that act within the layers."""
    return [name for name in FEWEST_LAYERS if getattr(spec, name)]


def flag(name: str) -> str:
    """Return a setting's name on the command line."""
    return f"--{name.replace('_', '-')}"
