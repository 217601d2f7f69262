"""A trained model that a training goes on from: all of its weights, or an adapter beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from t2v_core.diffusion.objectives import Objective
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.lora.adapter import Adapter, LoraSettings
from t2v_core.specs import TrainSpec


@dataclass(frozen=True)
class Base:
    """See above.

    family: of the model, which an adapter's file says; where: how to find it again, `checkpoint` or `model`
    stamp: what its weights are, for a run that goes on
    objective_at: what is learned from clips of a shape, where that depends on it
    """

    model: Denoiser
    objective: Objective
    family: str
    where: Mapping[str, str]
    stamp: str
    objective_at: Callable[[tuple[int, ...]], Objective] | None = None

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
