"""What cannot be asked of a training that goes on from a trained model; nothing is loaded to tell."""

from __future__ import annotations

from collections.abc import Iterable

from t2v_core.errors import InvalidRequest
from t2v_core.settings import flag_name
from t2v_core.specs import EstimateSpec, PreprocessSpec, TrainSpec

LORA_ONLY = ("lora_rank", "lora_alpha", "lora_targets", "lora_dropout")


def _require_quantizable(spec: TrainSpec) -> None:
    if not spec.lora or spec.model is None:
        raise InvalidRequest(
            f"--quantize {spec.quantize} is for what an adapter of an open model lies beside",
            hint="add --lora and --model, or leave it out",
        )
    if spec.shard:
        raise InvalidRequest(
            f"--quantize {spec.quantize} and --shard exclude each other: packed weights are not divided",
            hint="leave one out",
        )


def require_open_model(spec: PreprocessSpec | EstimateSpec, names: Iterable[str]) -> None:
    """Raise InvalidRequest for a setting, of those named, that only open models have, where none is named."""
    for name in names if spec.model is None else ():
        if name in spec.model_fields_set and getattr(spec, name) != type(spec).model_fields[name].default:
            raise InvalidRequest(
                f"{flag_name(name)} is for an open model, and none is named",
                hint=f"leave {flag_name(name)} out, or name one with --model",
            )


def require_sense(spec: TrainSpec) -> None:
    """Raise InvalidRequest for settings of a base that contradict each other."""
    if spec.base is not None and spec.model is not None:
        raise InvalidRequest(
            "--base names a checkpoint of t2v's own to go on from, and --model an open model", hint="leave one out"
        )
    if spec.distill is not None and (spec.base is not None or spec.model is not None or spec.lora):
        raise InvalidRequest("a distillation has its own model to start from", hint="leave --distill out, or the rest")
    if spec.lora and spec.base is None and spec.model is None:
        raise InvalidRequest(
            "--lora trains an adapter beside a model that is trained already, and none is named",
            hint="name one: --base CHECKPOINT, --base embedded, or an open one with --model",
        )
    if spec.quantize != "none":
        _require_quantizable(spec)
    said = [name for name in LORA_ONLY if name in spec.model_fields_set and not spec.lora]
    if said:
        raise InvalidRequest(
            f"--{said[0].replace('_', '-')} is of an adapter, and none is trained", hint="add --lora, or leave it out"
        )
