"""A trained model that a training goes on from: all of its weights, or an adapter beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from t2v_core.diffusion.objectives import Objective
from t2v_core.errors import InvalidRequest
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.lora.adapter import Adapter, LoraSettings
from t2v_core.specs import TrainSpec

LORA_ONLY = ("lora_rank", "lora_alpha", "lora_targets", "lora_dropout")


@dataclass(frozen=True)
class Base:
    """See above.

    family: of the model, which an adapter's file says; where: how to find it again, `checkpoint` or `model`
    stamp: what its weights are, for a run that goes on
    """

    model: Denoiser
    objective: Objective
    family: str
    where: Mapping[str, str]
    stamp: str

    @property
    def said(self) -> dict[str, str]:
        """Return what a checkpoint says of it."""
        return {**self.where, "family": self.family, "sha256": self.stamp}

    def adapter(self, spec: TrainSpec) -> Adapter | None:
        """Put the adapter that a run asks for beside the model; None where all of it is trained."""
        settings, model = lora_settings(spec), self.model
        if settings is None:
            return None
        return Adapter.beside(model.adapted_parts(), settings, model.adapter_targets, self.said)


def lora_settings(spec: TrainSpec) -> LoraSettings | None:
    """Return those of the adapter that a run asks for; None where all of a model is trained."""
    if not spec.lora:
        return None
    alpha = spec.lora_rank if spec.lora_alpha is None else spec.lora_alpha
    targets = tuple(name.strip() for name in spec.lora_targets.split(",") if name.strip())
    return LoraSettings(spec.lora_rank, float(alpha), targets, spec.lora_dropout)


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
    said = [name for name in LORA_ONLY if name in spec.model_fields_set and not spec.lora]
    if said:
        raise InvalidRequest(
            f"--{said[0].replace('_', '-')} is of an adapter, and none is trained", hint="add --lora, or leave it out"
        )
