"""Checkpoints as training writes them, around a tiny untrained model and the shipped encoders; and their pipeline."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import diffusers
import torch

from t2v_core import __version__, embedded
from t2v_core.checkpoints.checkpoints import Checkpoint, save_checkpoint
from t2v_core.diffusion.objectives import make_objective
from t2v_core.diffusion.pipeline import TextToVideoPipeline
from t2v_core.models.denoisers.video_transformer import VideoTransformer
from t2v_core.models.encoders import PromptEncoder, VideoAutoencoder, load_prompt_encoder, load_vae
from t2v_core.models.loading import identity
from t2v_core.specs import make_spec

MODEL = {
    "sample_size": 8,
    "num_frames": 8,
    "patch_size": 2,
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 4,
    "mlp_ratio": 2,
    "text_dim": 96,
    "pooled_dim": 64,
    "block": "adaln",
    "attention": "joint+temporal",
}
FPS = 8.0


@functools.cache
def shipped_encoders() -> tuple[VideoAutoencoder, PromptEncoder]:
    return load_vae("embedded"), load_prompt_encoder("embedded")


def small_denoiser(*, seed: int = 0, **config: Any) -> VideoTransformer:
    """Untrained, with random weights where training starts from zeros, and the null prompt training would give it."""
    torch.manual_seed(seed)
    model = VideoTransformer(**MODEL | config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    null = shipped_encoders()[1].encode([""])[0]
    model.set_null_prompt(null.tokens, null.pooled)
    return model.eval()


def small_pipeline(objective: str = "flow", **config: Any) -> TextToVideoPipeline:
    vae, encoder = shipped_encoders()
    denoiser = small_denoiser(**config)
    return TextToVideoPipeline(vae.model, encoder.model, encoder.tokenizer, denoiser, make_objective(objective).sampler)


def save_small_checkpoint(workspace: Path, *, step: int = 12, objective: str = "flow", **config: Any) -> Checkpoint:
    """Write `checkpoints/checkpoint_step_N` into a workspace, with the fields that training writes."""
    model = small_denoiser(**config)
    info = trainer_info(model, step, objective)
    files = {"model.safetensors": model.state_dict(), "ema.safetensors": model.state_dict()}
    return save_checkpoint(workspace / "checkpoints" / f"checkpoint_step_{step}", files, info)


def trainer_info(model: VideoTransformer, step: int, objective: str) -> dict[str, Any]:
    """What `TrainingRun._info` writes into trainer.json."""
    sampler = make_objective(objective).sampler
    vae = shipped_encoders()[0]
    spec = make_spec("train", {"preset": "tiny", "objective": objective, "data": "data/shapes"})
    return {
        "format": 1,
        "step": step,
        "epoch": 0,
        "steps_per_epoch": 100,
        "held_out_loss": None,
        "fps": FPS,
        "spec": spec.model_dump(mode="json"),
        "model": {name: value for name, value in model.config.items() if not name.startswith("_")},
        "sampler": {"class": type(sampler).__name__} | {k: v for k, v in sampler.config.items() if k[0] != "_"},
        "latents": {
            "encoder": identity("embedded", embedded.VAE).as_dict(),
            "statistics": vae.statistics(),
            "is_scaled": True,
            "shape": [8, 4, 8, 8],
            "fps": FPS,
        },
        "text": {"encoder": identity("embedded", embedded.CLIP).as_dict()},
        "video_ids": "",
        "scaler": None,
        "versions": {"t2v": __version__, "torch": torch.__version__, "diffusers": diffusers.__version__},
    }
