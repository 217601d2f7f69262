"""An open model as the base of a training."""

from __future__ import annotations

from typing import TypeVar

import torch

from t2v_core.assemble import Warn
from t2v_core.data.store.latents import LatentStore
from t2v_core.diffusion.objectives import DDPMObjective, FlowObjective, Objective
from t2v_core.diffusion.samplers import DDIMSampler, FlowEulerSampler
from t2v_core.diffusion.shipped_sampler import sampler_for
from t2v_core.errors import InvalidRequest
from t2v_core.models.loading import pick_device
from t2v_core.models.open.base import OpenModel
from t2v_core.models.open.denoiser import OpenDenoiser
from t2v_core.models.open.encoders import part_identity
from t2v_core.models.open.families import open_model
from t2v_core.models.open.finding import find_open_model
from t2v_core.models.open.layout import TRANSFORMERS
from t2v_core.models.open.parts import Placing, arithmetic
from t2v_core.models.open.quantizing import require_installed, unpack_anew
from t2v_core.presets import NOT_FOR_OPEN, OPEN_TUNING
from t2v_core.processes.member import is_on_several_machines
from t2v_core.specs import TrainSpec
from t2v_core.training.base.base import Base
from t2v_core.training.optimizers.eight_bits import NAME as EIGHT_BITS
from t2v_core.training.optimizers.eight_bits import is_there_for

SpecT = TypeVar("SpecT", bound=TrainSpec)


def suited_to_open(spec: SpecT, model: OpenModel, warn: Warn) -> SpecT:
    """Return the spec with what the tuning of an open model takes where nothing else was said.

    warn: told of what was said and does not count for it
    """
    objective, fields = objective_name(model), type(spec).model_fields
    exact = arithmetic(spec.precision, pick_device(spec.device)) is torch.float32
    own = {name: fields[name].default for name in NOT_FOR_OPEN} | {"objective": objective}
    if passed_over := [name for name in own if name in spec.model_fields_set and getattr(spec, name) != own[name]]:
        warn(f"{' and '.join(passed_over)} of t2v's own models: {model.name} has its own, and learns {objective}")
    usual = OPEN_TUNING | ({"precision": "fp32"} if exact else {}) | _usual_optimizer(spec)
    unsaid = {name: value for name, value in usual.items() if name not in spec.model_fields_set}
    return spec.model_copy(update=unsaid | own)


def _usual_optimizer(spec: TrainSpec) -> dict[str, str]:
    """An adapter's moments are in 8 bits on a GPU with the package, but where machines may differ in it."""
    device = pick_device(spec.device)
    may_be = spec.lora and device.type == "cuda" and not spec.shard and not is_on_several_machines()
    return {"optimizer": EIGHT_BITS} if may_be and is_there_for(device) else {}


def open_base(spec: TrainSpec, store: LatentStore, device: torch.device, dtype: torch.dtype) -> Base:
    """Load the transformers of the model; its other parts stay where they are.

    dtype: of the arithmetic; weights that are trained themselves are float32
    Raises InvalidRequest for a model that cannot be had, or for which the data set was not made.
    """
    assert spec.model is not None
    folder = find_open_model(spec.model)
    require_installed(spec.quantize)
    model = open_model(folder, Placing(device, dtype if spec.lora else torch.float32, quantize=spec.quantize))
    _require_its_data(spec.model, model, store)
    by_shape = {shape: objective_of(model, shape, spec) for shape in store.shapes}
    model.fps = float(store.manifest["fps"])
    denoiser = OpenDenoiser(model, store.null_prompt).train()
    if spec.quantize == "int8":
        unpack_anew(denoiser)
    if not spec.lora:
        denoiser.requires_grad_(True)
    stamp = part_identity(model, spec.model, TRANSFORMERS).sha256
    return Base(
        denoiser, by_shape[store.shape], model.name, {"model": spec.model}, stamp, objective_at=by_shape.__getitem__
    )


def objective_of(model: OpenModel, shape: tuple[int, ...], spec: TrainSpec) -> Objective:
    """Return what the family is trained for: v on its own schedule, or flow with its sampling's shift.

    shape: of a clip's latents
    """
    frames, channels, rows, columns = shape
    own = sampler_for(model.parts.use("scheduler"), "auto")
    if isinstance(own, DDIMSampler):
        return DDPMObjective(own)
    shift = model.shift((frames, channels, rows, columns))
    return FlowObjective(FlowEulerSampler(), spec.timestep_logit_mean, shift=shift)


def objective_name(model: OpenModel) -> str:
    """Return `v`, `epsilon` or `flow`: what the family was trained to predict."""
    own = sampler_for(model.parts.use("scheduler"), "auto")
    return own.prediction if isinstance(own, DDIMSampler) else "flow"


def _require_its_data(name: str, model: OpenModel, store: LatentStore) -> None:
    """Raise InvalidRequest for a set of another model's, or of none: latents, text, or a VAE that has changed."""
    families = [store.manifest["statistics"].get("family"), store.text_manifest.get("family")]
    vae = part_identity(model, name, ("vae",)).sha256
    text = store.null_prompt
    fits = text.tokens.shape[1] == model.text_width and text.pooled.numel() == model.pooled_width
    if families != [model.name, model.name] or store.manifest["encoder"]["sha256"] != vae or not fits:
        made_for = families[0] or "t2v's own models"
        what = "another version of it" if made_for == model.name else made_for
        raise InvalidRequest(
            f"the data set was preprocessed for {what}, and the model is {model.name}",
            hint=f"make it for this one: t2v preprocess --model {name}",
        )
