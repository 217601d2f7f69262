"""A pipeline from a checkpoint: its denoiser and sampler, and the encoders its data was made with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t2v_core.checkpoints import Checkpoint, latest_checkpoint, open_checkpoint
from t2v_core.errors import AskedWrongly
from t2v_core.job import Job
from t2v_core.models.cpu import suit_to_cpu
from t2v_core.models.denoiser import Denoiser
from t2v_core.models.denoisers import make_denoiser
from t2v_core.models.encoders import load_prompt_encoder, load_vae
from t2v_core.models.loading import EncoderIdentity, pick_device, pick_dtype
from t2v_core.pipeline import TextToVideoPipeline
from t2v_core.samplers import SAMPLERS, choose_sampler
from t2v_core.specs import SamplingSpec


def find_checkpoint(spec: SamplingSpec, job: Job) -> Checkpoint:
    """The one asked for, else the latest complete one. Raises AskedWrongly when there is none."""
    if spec.checkpoint is not None:
        return open_checkpoint(
            spec.checkpoint if str(spec.checkpoint) == "embedded" else job.workspace.resolve(spec.checkpoint)
        )
    checkpoint = latest_checkpoint(job.workspace.checkpoints, on_incomplete=job.events.warning)
    if checkpoint is None:
        raise AskedWrongly(
            f"there is no complete checkpoint in {job.workspace.checkpoints}",
            hint="train a model (t2v train), or use the one that is shipped: --checkpoint embedded",
        )
    return checkpoint


def sampler_name(spec: SamplingSpec, checkpoint: Checkpoint) -> str:
    """What `auto` means for this checkpoint, else what was asked: `ddim`, `euler` or `dpm++`."""
    return SAMPLERS[checkpoint.info["sampler"]["class"]].name if spec.sampler == "auto" else spec.sampler


def load_pipeline(
    checkpoint: Checkpoint, *, device: str, precision: str, weights: str = "ema", sampler: str = "auto"
) -> TextToVideoPipeline:
    """Build the pipeline of a checkpoint.

    weights: `ema` or `raw`
    sampler: `auto`, `ddim`, `euler` or `dpm++`
    Raises AskedWrongly when weights and configuration or sampler and objective do not fit, or an encoder is not the one
    the data was made with.
    """
    trained = dict(checkpoint.info["sampler"])
    scheduler = choose_sampler(SAMPLERS[trained.pop("class")](**trained), sampler)
    place = pick_device(device)
    vae = load_vae(checkpoint.info["latents"]["encoder"]["source"], device=device, precision=precision)
    prompt_encoder = load_prompt_encoder(checkpoint.info["text"]["encoder"]["source"], device=device)
    _require_same(vae.identity, checkpoint.info["latents"]["encoder"], "VAE")
    _require_same(prompt_encoder.identity, checkpoint.info["text"]["encoder"], "text encoder")
    denoiser = build_denoiser(checkpoint.info["model"], checkpoint.weights(weights), str(checkpoint.path))
    suit_to_cpu(denoiser, place)
    return TextToVideoPipeline(
        vae.model,
        prompt_encoder.model,
        prompt_encoder.tokenizer,
        denoiser.to(place, pick_dtype(precision, place)).eval(),
        scheduler,
    )


def build_denoiser(config: dict[str, Any], weights: dict[str, Tensor], where: str) -> Denoiser:
    """The denoiser of a configuration, with these weights. Raises AskedWrongly with what differs."""
    try:
        with torch.device("meta"):
            model = make_denoiser(config)
    except ValueError as error:
        raise _of_another_architecture(where, str(error)) from error
    differences = shape_differences({k: v.shape for k, v in model.state_dict().items()}, weights)
    if differences:
        shown = "; ".join(differences[:4]) + (f"; and {len(differences) - 4} more" if len(differences) > 4 else "")
        raise _of_another_architecture(where, shown)
    model.load_state_dict(weights, assign=True)
    return model


def _of_another_architecture(where: str, difference: str) -> AskedWrongly:
    return AskedWrongly(
        f"{where} is of another architecture: {difference}", hint="name the checkpoint of this model, or train one"
    )


def shape_differences(expected: dict[str, torch.Size], weights: dict[str, Tensor]) -> list[str]:
    """What differs between the tensors a model has and those of a file, in words."""
    found = {name: tensor.shape for name, tensor in weights.items()}
    return [
        f"{name} is {_shape(found.get(name))}, the model's is {_shape(expected.get(name))}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape)) or "a number"


def _require_same(found: EncoderIdentity, trained_with: dict[str, str], what: str) -> None:
    if found.sha256 != trained_with["sha256"]:
        raise AskedWrongly(
            f"the {what} {found.source} is not the one this checkpoint was trained with (its files differ)",
            hint=f"bring back the {what} that preprocessing used",
        )
