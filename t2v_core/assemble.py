"""A pipeline from a checkpoint: its denoiser and sampler, and the encoders its data was made with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from t2v_core import embedded
from t2v_core.checkpoints.base import base_of
from t2v_core.checkpoints.checkpoints import EMA, MODEL, Checkpoint, latest_checkpoint
from t2v_core.checkpoints.old_checkpoints import OldCheckpoint, newest_old_checkpoint
from t2v_core.checkpoints.old_names import ORIGIN
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.checkpoints.trainer_info import require_usable
from t2v_core.diffusion.pipeline import TextToVideoPipeline
from t2v_core.diffusion.samplers import SAMPLERS, FlowMapSampler, choose_sampler
from t2v_core.diffusion.schedules import Sampler
from t2v_core.disk.files import MANIFEST
from t2v_core.disk.formats import UPDATE
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.models.compiling import compile_layers, leave_uncompiled, pays_to_compile, sampling_passes
from t2v_core.models.cpu import suit_to_cpu
from t2v_core.models.denoisers.by_name import make_denoiser
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.models.encoders import PromptEncoder, VideoAutoencoder, load_prompt_encoder, load_vae
from t2v_core.models.loading import EncoderIdentity, pick_device, pick_dtype, quiet
from t2v_core.models.lora.asked import AskedLora
from t2v_core.models.lora.files import put_beside, read_lora
from t2v_core.presets import MAP_REFINING_STEPS, MAP_STEPS
from t2v_core.specs import RefineSpec, SamplingSpec
from t2v_core.workspace import Workspace

# What numbers and words that no model has make of building one.
UNBUILDABLE = (ValueError, TypeError, AttributeError, IndexError, RuntimeError, ArithmeticError, AssertionError)
# What an adapter's file says of a model of ours.
OWN_FAMILY = "t2v"
SpecT = TypeVar("SpecT", bound=SamplingSpec)


class Warn(Protocol):
    """Tells somebody about something odd: an event of a job, or a warning of Python's."""

    def __call__(self, message: str, hint: str = "") -> None: ...


def find_checkpoint(spec: SamplingSpec, job: Job) -> Checkpoint:
    """Return the one asked for, else the latest of the job's workspace. Raises as `open_or_latest`."""
    asked = spec.checkpoint
    if asked is not None and str(asked) not in embedded.MODELS:
        asked = job.workspace.resolve(asked)
    return open_or_latest(asked, job.workspace, job.events.warning)


def open_or_latest(asked: Path | None, workspace: Workspace, warn: Warn) -> Checkpoint:
    """Return the checkpoint asked for, else the latest complete one, else the newest of the previous system.

    Raises InvalidRequest when there is none.
    """
    if asked is not None:
        return open_checkpoint(asked)
    folder = workspace.checkpoints
    checkpoint = newest_of_any(folder, warn)
    if checkpoint is None:
        raise InvalidRequest(
            f"there is no complete checkpoint in {folder}",
            hint="train a model (t2v train), or use the one that is shipped: --checkpoint embedded",
        )
    if isinstance(checkpoint, OldCheckpoint):
        warn(
            f"there is no checkpoint of this t2v in {workspace.relative(folder)}: {checkpoint.path.name} is used, the "
            "newest of the previous system",
            hint="another one: --checkpoint FILE.pt; to train on from it: t2v import-checkpoint",
        )
    return checkpoint


def newest_of_any(folder: Path, warn: Warn) -> Checkpoint | None:
    """Return the latest complete checkpoint of a folder, else the newest of the previous system there, else None.

    warn: told of each that is passed over
    """
    return latest_checkpoint(folder, on_incomplete=warn) or newest_old_checkpoint(folder, passed_over=warn)


def sampler_name(spec: SamplingSpec, checkpoint: Checkpoint) -> str:
    """Return what `auto` means for this checkpoint, else what was asked: `ddim`, `euler` or `dpm++`."""
    return SAMPLERS[checkpoint.info["sampler"]["class"]].name if spec.sampler == "auto" else spec.sampler


def is_flow_map(checkpoint: Checkpoint) -> bool:
    """Tell whether a model was distilled: it takes few passes, and has its guidance within."""
    return bool(checkpoint.info["sampler"]["class"] == FlowMapSampler.__name__)


def suited(spec: SpecT, checkpoint: Checkpoint, warn: Warn) -> SpecT:
    """Return the spec as the model needs it, where nobody asked for something else.

    A distilled one takes 4 passes without guidance. One that never saw a null prompt takes no guidance: the previous
    system dropped no caption in training, and ignored its guidance when it generated.
    """
    if is_flow_map(checkpoint):
        return _suited_to_map(spec, checkpoint, warn)
    if checkpoint.info.get("origin") != ORIGIN:
        return spec
    if "guidance_scale" not in spec.model_fields_set:
        return spec.model_copy(update={"guidance_scale": 1.0})
    if spec.guidance_scale != 1:
        warn(
            f"{checkpoint.path.name} is of the previous system, which never trained without captions: guidance "
            f"{spec.guidance_scale:g} steers away from an answer it never learned",
            hint="--guidance 1 is what it was trained for",
        )
    return spec


def _suited_to_map(spec: SpecT, checkpoint: Checkpoint, warn: Warn) -> SpecT:
    if "guidance_scale" in spec.model_fields_set and spec.guidance_scale != 1:
        warn(
            f"{checkpoint.path.name} was distilled with guidance built in: {spec.guidance_scale:g} on top overdoes "
            "it, and takes twice as long",
            hint="leave --guidance out",
        )
    steps = MAP_REFINING_STEPS if isinstance(spec, RefineSpec) else MAP_STEPS
    least: dict[str, Any] = {"steps": steps, "guidance_scale": 1.0}
    return spec.model_copy(update={name: value for name, value in least.items() if name not in spec.model_fields_set})


def load_asked(
    checkpoint: Checkpoint,
    spec: SamplingSpec,
    warn: Warn,
    loras: Sequence[AskedLora] = (),
    *,
    videos: int = 1,
    keep: dict[str, Any] | None = None,
) -> TextToVideoPipeline:
    """Build the pipeline of a checkpoint as a spec asks for it, for so many videos.

    warn: told when it should be compiled and cannot be; loras: those of the spec
    keep, and what it raises: as of `load_pipeline`
    """
    pipeline = load_pipeline(
        checkpoint,
        device=spec.device,
        precision=spec.precision,
        weights=spec.weights,
        sampler=spec.sampler,
        encoders=(spec.vae, spec.text_encoder),
        loras=loras,
        keep=keep,
    )
    if pays_to_compile(spec.compile, pipeline.denoiser.device, sampling_passes(spec, videos), warn):
        compile_layers(pipeline.denoiser)
    elif spec.compile == "no":
        leave_uncompiled(pipeline.denoiser)
    return pipeline


def load_pipeline(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str,
    weights: str = "ema",
    sampler: str = "auto",
    encoders: tuple[str | None, str | None] = (None, None),
    loras: Sequence[AskedLora] = (),
    keep: dict[str, Any] | None = None,
) -> TextToVideoPipeline:
    """Build the pipeline of a checkpoint.

    weights: `ema` or `raw`
    sampler: `auto`, `ddim`, `euler` or `dpm++`
    encoders: VAE and text encoder, where they do not lie any more where the data was made with them
    loras: adapters beside the model; a checkpoint that is one itself lies beside its base as it is
    keep:    where the models of the last call stay loaded, for the next one that asks for the same
    Raises InvalidRequest when weights and configuration or sampler and objective do not fit, or an encoder is not the
    one the data was made with.
    """
    checkpoint.require_known_format()
    require_usable(checkpoint.path, checkpoint.info)
    if checkpoint.open_model is not None:
        raise InvalidRequest(
            f"{checkpoint.path} was trained on {checkpoint.open_model}, and this takes a model of t2v's own",
            hint="t2v generate and t2v refine draw with it",
        )
    scheduler = choose_sampler(_trained_sampler(checkpoint), sampler)
    keep = {} if keep is None else keep
    stamps = [_stamp(one.path) for one in loras if one.path.exists()]
    wanted = (checkpoint.path, _stamp(checkpoint.path), device, precision, weights, encoders, tuple(loras), stamps)
    if keep.get("wanted") != wanted:
        keep.clear()  # before the next is loaded: two may be more than the device holds
        keep["models"] = _load_models(checkpoint, device, precision, weights, encoders, loras)
        keep["wanted"] = wanted
    vae, text, denoiser = keep["models"]
    pipeline = TextToVideoPipeline(vae.model, text.model, text.tokenizer, denoiser, scheduler)
    pipeline.prompt_encoder.padded_to = text.padded_to
    pipeline.autoencoder.identity, pipeline.prompt_encoder.identity = vae.identity, text.identity
    return pipeline


def _trained_sampler(checkpoint: Checkpoint) -> Sampler:
    """The way back that the model was trained for. Raises InvalidRequest for one that is not known here."""
    settings = dict(checkpoint.info["sampler"])
    name = settings.pop("class")
    try:
        return SAMPLERS[name](**settings)
    except (KeyError, *UNBUILDABLE) as error:
        raise InvalidRequest(
            f"checkpoint {checkpoint.path} was trained for a sampler that this t2v does not have: {name}", hint=UPDATE
        ) from error


def _stamp(checkpoint: Path) -> tuple[float, int]:
    """What changes when another checkpoint gets the same name."""
    manifest = checkpoint / MANIFEST
    status = (manifest if manifest.is_file() else checkpoint).stat()
    return status.st_mtime, status.st_size


def _load_models(
    checkpoint: Checkpoint,
    device: str,
    precision: str,
    weights: str,
    encoders: tuple[str | None, str | None],
    loras: Sequence[AskedLora],
) -> tuple[VideoAutoencoder, PromptEncoder, Denoiser]:
    """VAE, text encoder and denoiser, on the device."""
    place = pick_device(device)
    text = checkpoint.info["text"]
    vae = load_vae(encoders[0] or checkpoint.info["latents"]["encoder"]["source"], device=device, precision=precision)
    prompt_encoder = load_prompt_encoder(encoders[1] or text["encoder"]["source"], device=device)
    _require_same(vae.identity, checkpoint.info["latents"]["encoder"], "VAE")
    _require_same_scaling(vae, checkpoint.info["latents"])
    _require_same(prompt_encoder.identity, text["encoder"], "text encoder")
    denoiser = _denoiser(checkpoint, weights, loras)
    prompt_encoder.padded_to = text.get("padded_to")
    _require_fitting(prompt_encoder, denoiser)
    if not len(denoiser.null_tokens):
        denoiser.take_null_prompt(*_null_prompt(prompt_encoder))
    suit_to_cpu(denoiser, place)
    with quiet():  # diffusers warns of an empty list of layers whenever a dtype is named
        placed = denoiser.to(place, pick_dtype(precision, place)).eval()
    return vae, prompt_encoder, placed


def _denoiser(checkpoint: Checkpoint, weights: str, asked: Sequence[AskedLora]) -> Denoiser:
    """The model of a checkpoint, of an adapter's its base's, and the adapters beside it."""
    loras = [read_lora(one.path, one.scale) for one in asked]
    whole = checkpoint
    if checkpoint.is_adapter:
        whole = base_of(checkpoint)
        loras.insert(0, read_lora(checkpoint.path / (EMA if weights == "ema" else MODEL)))
        weights = "ema"
    denoiser = build_denoiser(whole.info["model"], whole.weights(weights), str(whole.path))
    parts = denoiser.adapted_parts()
    for lora in loras:
        lora.require_fits(parts, OWN_FAMILY)
    for prefix, part in parts.items():
        put_beside(part, prefix, loras)
    return denoiser


def _null_prompt(encoder: PromptEncoder) -> tuple[Tensor, Tensor]:
    empty = encoder.encode([""])[0]
    return empty.tokens, empty.pooled


def _require_fitting(encoder: PromptEncoder, denoiser: Denoiser) -> None:
    """Raises InvalidRequest for widths, or a length of prompts, that the model was not trained with."""
    source, width, pooled = encoder.identity.source, denoiser.null_tokens.shape[1], denoiser.null_pooled.numel()
    wrong = ""
    if encoder.dim != width:
        wrong = f"gives {encoder.dim} values per token, and this model takes {width}"
    elif pooled and encoder.pooled_dim != pooled:
        wrong = f"gives {encoder.pooled_dim} values per prompt, and this model takes {pooled}"
    elif encoder.padded_to and encoder.padded_to > encoder.max_length:
        wrong = f"reads {encoder.max_length} tokens, and this model takes prompts of {encoder.padded_to}"
    if wrong:
        raise InvalidRequest(
            f"the text encoder {source} {wrong}",
            hint="name the one its data was made with: --text-encoder openai/clip-vit-base-patch32",
        )


def build_denoiser(config: dict[str, Any], weights: dict[str, Tensor], where: str) -> Denoiser:
    """Build the denoiser of a configuration, with these weights. Raises InvalidRequest with what differs."""
    model = empty_denoiser(config, weights, where)
    model.load_state_dict(weights, assign=True)
    return model


def empty_denoiser(config: dict[str, Any], weights: dict[str, Tensor], where: str) -> Denoiser:
    """Build the same without values, and see whether the weights are of its names and shapes. Raises InvalidRequest."""
    layers = config.get("num_layers")
    if isinstance(layers, int) and layers > len(weights):  # a number of thousands would take hours to build
        raise _of_another_architecture(where, f"it has {len(weights)} tensors for {layers} layers")
    try:
        with torch.device("meta"):
            model = make_denoiser(config)
    except UNBUILDABLE as error:
        raise _of_another_architecture(where, (str(error) or type(error).__name__).splitlines()[0][:200]) from error
    differences = shape_differences({k: v.shape for k, v in model.state_dict().items()}, weights)
    if differences:
        shown = "; ".join(differences[:4]) + (f"; and {len(differences) - 4} more" if len(differences) > 4 else "")
        raise _of_another_architecture(where, shown)
    return model


def _of_another_architecture(where: str, difference: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where} has another architecture: {difference}", hint="name the checkpoint of this model, or train one"
    )


def shape_differences(expected: dict[str, torch.Size], weights: dict[str, Tensor]) -> list[str]:
    """List what differs between the tensors a model has and those of a file, in words."""
    found = {name: tensor.shape for name, tensor in weights.items()}
    return [
        f"{name} is {_shape(found.get(name))}, the model's is {_shape(expected.get(name))}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape)) or "a number"


def _require_same_scaling(vae: VideoAutoencoder, trained_with: dict[str, Any]) -> None:
    """Where nobody wrote down which VAE it was, one that normalises otherwise would decode other colours, in silence.

    Raises InvalidRequest.
    """
    if not trained_with["encoder"]["sha256"] and vae.statistics() != trained_with["statistics"]:
        raise InvalidRequest(
            f"the VAE {vae.identity.source} cannot have made the latents that this checkpoint was trained on: it "
            "normalises them differently",
            hint="name the VAE that made them: --vae stabilityai/sd-vae-ft-mse",
        )


def _require_same(found: EncoderIdentity, trained_with: dict[str, str], what: str) -> None:
    """What a checkpoint of the previous system was trained with is not written down anywhere: its sha256 is empty."""
    if trained_with["sha256"] and found.sha256 != trained_with["sha256"]:
        raise InvalidRequest(
            f"the {what} {found.source} is not the one this checkpoint was trained with (its files differ)",
            hint=f"restore the {what} that preprocessing used",
        )
