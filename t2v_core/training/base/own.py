"""A checkpoint of ours as the base of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from t2v_core import embedded
from t2v_core.assemble import OWN_FAMILY, build_denoiser
from t2v_core.checkpoints.base import stamp_of
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.store.latents import LatentStore
from t2v_core.diffusion.objectives import Objective
from t2v_core.diffusion.samplers import FlowMapSampler
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.presets import PRESET_TRAINING, TUNING
from t2v_core.specs import TrainSpec
from t2v_core.training.base.base import Base

SpecT = TypeVar("SpecT", bound=TrainSpec)
# Of the model's training, what its weights mean only together with.
AS_TRAINED = ("objective", "attention", "zero_terminal_snr")


def base_checkpoint(spec: TrainSpec, job: Job) -> Checkpoint:
    """Open the checkpoint to go on from. Raises InvalidRequest for none, an adapter, and a distilled one."""
    assert spec.base is not None
    is_shipped = str(spec.base) in embedded.MODELS
    checkpoint = open_checkpoint(spec.base if is_shipped else job.workspace.resolve(spec.base))
    if checkpoint.info["sampler"]["class"] == FlowMapSampler.__name__:
        raise InvalidRequest(
            f"{checkpoint.path} is distilled, and learns nothing more",
            hint="go on from the model that it was made of, then distil again",
        )
    if checkpoint.is_adapter:
        raise InvalidRequest(
            f"{checkpoint.path} is an adapter, and no model of its own",
            hint="continue it: --resume; or name the model that it lies beside",
        )
    return checkpoint


def suited_to_own(spec: SpecT, job: Job) -> SpecT:
    """Return the spec with the base's preset and objective, and what a tuning takes where nothing else was said.

    Raises InvalidRequest for what the base was not trained with, and as `base_checkpoint`.
    """
    taught: dict[str, Any] = base_checkpoint(spec, job).info["spec"]
    fixed = {"preset": taught["preset"]} | {name: taught[name] for name in AS_TRAINED if name in taught}
    for name, value in fixed.items():
        if name in spec.model_fields_set and getattr(spec, name) != value:
            flag = f"--{name.replace('_', '-')}"
            raise InvalidRequest(
                f"{spec.base} was trained with {flag} {value}, and {getattr(spec, name)} was asked for",
                hint=f"leave {flag} out",
            )
    own = PRESET_TRAINING[taught["preset"]]
    rate = own.get("learning_rate", TrainSpec.model_fields["learning_rate"].default)
    usual = own | TUNING | {"learning_rate": rate if spec.lora else rate / 4} | fixed
    return spec.model_copy(update={name: value for name, value in usual.items() if name not in spec.model_fields_set})


def own_base(spec: TrainSpec, store: LatentStore, objective: Objective, job: Job) -> Base:
    """Load the base; the spec has its objective.

    Raises InvalidRequest where its data was another, and as `base_checkpoint`.
    """
    checkpoint = base_checkpoint(spec, job)
    require_same_data(str(spec.base), checkpoint, store)
    weights = checkpoint.weights("ema")
    model = build_denoiser(checkpoint.info["model"], weights, str(checkpoint.path))
    where = str(spec.base) if str(spec.base) in embedded.MODELS else str(job.workspace.relative(checkpoint.path))
    return Base(model.train(), objective, OWN_FAMILY, {"checkpoint": where}, stamp_of(checkpoint))


def require_same_data(name: str, checkpoint: Checkpoint, store: LatentStore) -> None:
    """Raise InvalidRequest where a data set was made with other encoders, or in another shape, than a checkpoint's."""
    pairs: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = (
        ("latents", checkpoint.info["latents"], store.manifest),
        ("text embeddings", checkpoint.info["text"], store.text_manifest),
    )
    for what, taught, here in pairs:
        differs = taught["encoder"]["sha256"] not in ("", here["encoder"]["sha256"])
        if differs or ("shape" in taught and list(taught["shape"]) != list(here.get("shape", []))):
            raise InvalidRequest(
                f"the {what} of the data set are not like those that {name} was trained on",
                hint="preprocess with the same encoders, frames and size",
            )
