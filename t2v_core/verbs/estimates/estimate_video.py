"""`t2v estimate --checkpoint`: what one video of a checkpoint takes, from its configuration; no weights are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from t2v_core import embedded
from t2v_core.assemble import open_or_latest
from t2v_core.checkpoints.base import base_of
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.diffusion.pipeline import BATCH_FRAMES
from t2v_core.errors import InvalidRequest
from t2v_core.events.estimated import MachinePart
from t2v_core.events.open_estimated import OpenEstimated, OpenPart, Way
from t2v_core.job import Job
from t2v_core.models.denoisers.by_name import make_denoiser
from t2v_core.models.live_bytes import LiveBytes
from t2v_core.models.loading import find_model, quiet
from t2v_core.models.open.memory.footprint import Footprint, OnDevice
from t2v_core.specs import EstimateSpec
from t2v_core.training.forecast.flops import TEXT_TOKENS
from t2v_core.training.forecast.gpus import find_gpu
from t2v_core.training.forecast.machines import other_machine, this_machine
from t2v_core.verbs.open.estimate import ARITHMETIC, CARDS_BYTES, card_of

FAMILY, LATEST = "t2v", "latest"
CONFIGURATION = ("config.json",)
# The prompt and the null prompt, which guidance pulls away from.
PASSES = 2


def estimate_video(spec: EstimateSpec, job: Job) -> OpenEstimated:
    """Reckon the memory of one video of the checkpoint, with its VAE and text encoder beside it.

    Raises InvalidRequest for a checkpoint that cannot be read, or one that was trained on an open model.
    """
    assert spec.checkpoint is not None
    asked = None if str(spec.checkpoint) == LATEST else spec.checkpoint
    place = asked if asked is None or str(asked) in embedded.MODELS else job.workspace.resolve(asked)
    checkpoint = open_or_latest(place, job.workspace, job.events.warning)
    if checkpoint.open_model is not None:
        raise InvalidRequest(
            f"{spec.checkpoint} was trained on the open model {checkpoint.open_model}",
            hint=f"--model {checkpoint.open_model}: an adapter takes little beside it",
        )
    machine = this_machine(spec) if spec.gpu is None else other_machine(find_gpu(spec.gpu), spec)
    config = (base_of(checkpoint) if checkpoint.is_adapter else checkpoint).info["model"]
    job.events.stage("estimate", f"one video of {spec.checkpoint} on {machine.name}")
    need, counts, size = footprint_of(checkpoint, config, machine.dtype, machine.framework_bytes)
    way = Way(offload="none", vae_tiling=False, peak_bytes=need.peak("none", is_tiled=False))
    return OpenEstimated(
        model=str(asked or job.workspace.relative(checkpoint.path)),
        family=FAMILY,
        licence="",
        arithmetic=ARITHMETIC[machine.dtype],
        frames=int(config["num_frames"]),
        height=size,
        width=size,
        parts=tuple(
            OpenPart(name=name, parameters=counts[name], weights_bytes=held) for name, held in need.weights.items()
        ),
        sampling_bytes=need.sampling,
        decoding_bytes=need.decoding,
        tiled_bytes=need.tiled,
        ways=(way,),
        machine=MachinePart(name=machine.name, memory_bytes=machine.memory_bytes, is_here=machine.is_here),
        here=card_of((way,), machine.memory_bytes),
        cards=tuple(card_of((way,), held) for held in CARDS_BYTES),
    )


def footprint_of(
    checkpoint: Checkpoint, config: dict[str, Any], dtype: torch.dtype, framework: int
) -> tuple[Footprint, dict[str, int], int]:
    """Return its memory by part, each part's parameters, and the side of its videos in pixels.

    config: of its denoiser; dtype: that it computes in; framework: bytes of the process without any work. The text
    encoder computes in fp32, and so does the VAE where that is fp16, as the pipeline has them.
    """
    vae_dtype = torch.float32 if dtype is torch.float16 else dtype
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(_configuration(checkpoint.info["latents"], embedded.VAE, "VAE"))
        text = CLIPTextModelWithProjection(
            CLIPTextConfig(**_configuration(checkpoint.info["text"], embedded.CLIP, "text encoder"))
        )
        denoiser = make_denoiser(config)
    counts = {"text_encoder": _count(text), "transformer": _count(denoiser), "vae": _count(vae)}
    dtypes = {"text_encoder": torch.float32, "transformer": dtype, "vae": vae_dtype}
    decoding = _decoding(vae, vae_dtype, config)
    need = Footprint(
        weights={name: number * dtypes[name].itemsize for name, number in counts.items()},
        blocks=1.0,
        sampling=_sampling(config, dtype),
        decoding=decoding,
        tiled=decoding,
        context=framework,
    )
    return need, counts, int(config["sample_size"]) * 2 ** (len(vae.config.block_out_channels) - 1)


def _configuration(part: dict[str, Any], embedded_folder: Path, what: str) -> dict[str, Any]:
    folder = find_model(part["encoder"]["source"], embedded=embedded_folder, files=CONFIGURATION, what=what)
    try:
        said: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"the {what} in {folder} cannot be read: {error}", "restore its config.json") from error
    return said.get("text_config_dict") or said.get("text_config") or said


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _sampling(config: dict[str, Any], dtype: torch.dtype) -> int:
    """What one pass of the denoiser holds beside its weights, for one video with guidance."""
    side, before = config["sample_size"], torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # fake parameters cannot be converted
    try:
        with FakeTensorMode(), torch.no_grad(), quiet():
            model = make_denoiser(config).eval()
            inputs = (
                torch.empty(PASSES, config["num_frames"], config["in_channels"], side, side),
                torch.zeros(PASSES),
                torch.empty(PASSES, TEXT_TOKENS, config["text_dim"]),
                torch.ones(PASSES, TEXT_TOKENS, dtype=torch.bool),
                torch.empty(PASSES, config["pooled_dim"]),
            )
            with LiveBytes([*model.parameters(), *model.buffers()]) as alive, OnDevice():
                model(*inputs)
    finally:
        torch.set_default_dtype(before)
    return alive.peak


def _decoding(vae: AutoencoderKL, dtype: torch.dtype, config: dict[str, Any]) -> int:
    """What the VAE holds beside its weights for as many frames as go through it at a time."""
    frames, side = min(BATCH_FRAMES, config["num_frames"]), config["sample_size"]
    with torch.device("meta"), torch.no_grad(), quiet():
        vae = vae.to(dtype)
        z = torch.empty(frames, config["in_channels"], side, side, dtype=dtype)
        with LiveBytes([*vae.parameters(), *vae.buffers(), z]) as alive, OnDevice():
            vae.decode(z).sample.float()
    return alive.peak
