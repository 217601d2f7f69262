"""A model of ours as a folder that `--checkpoint` and `TextToVideoPipeline.from_pretrained` take."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2v_core import embedded
from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.checkpoints.exported import ENCODERS
from t2v_core.models.denoisers.by_name import denoiser_config
from t2v_core.models.encoders import CLIP_FILES, VAE_FILES
from t2v_core.models.loading import find_model, identified_files, identity
from t2v_core.verbs.sharing.card import public_settings

# Of `trainer.json`, what a model needs to draw; the rest is about going on with its training, on that machine.
SAID = ("format", "origin", "step", "epoch", "steps_per_epoch", "held_out_loss", "fps", "sampler", "versions")
SAID_OF_ENCODERS = ("statistics", "is_scaled", "shape", "fps", "stride", "padded_to")


def write_own_model(folder: Path, checkpoint: Checkpoint, weights: str) -> dict[str, Any]:
    """Write a model with the encoders that it was trained with. Returns what `trainer.json` would say of it there.

    weights: `ema` or `raw`
    """
    pipeline = load_pipeline(checkpoint, device="cpu", precision="fp32", weights=weights)
    pipeline.save_pretrained(folder)
    info = checkpoint.info
    here = {}
    for part, found in _encoders(info).items():
        # As they are, byte for byte: data sets are stamped with their hash.
        place = folder / ENCODERS[part]
        shutil.rmtree(place)
        place.mkdir()
        for path in identified_files(found):
            shutil.copyfile(path, place / path.name)
        here[part] = {"encoder": identity(place.name, place).as_dict()}
    said = {part: {name: info[part][name] for name in SAID_OF_ENCODERS if name in info[part]} for part in ENCODERS}
    return {
        **{name: info[name] for name in SAID if name in info},
        **{part: said[part] | here[part] for part in ENCODERS},
        "model": denoiser_config(pipeline.denoiser),
        "spec": public_settings(info),
    }


def _encoders(info: Mapping[str, Any]) -> dict[str, Path]:
    """Where the encoders lie that a model was trained with, by the part of `trainer.json` that names them."""
    sources = {part: str(info[part]["encoder"]["source"]) for part in ENCODERS}
    return {
        "latents": find_model(sources["latents"], embedded=embedded.VAE, files=VAE_FILES, what="VAE"),
        "text": find_model(sources["text"], embedded=embedded.CLIP, files=CLIP_FILES, what="text encoder"),
    }


def use_of_own_model(name: str) -> str:
    """Return how such a folder is used, as Markdown."""
    lines = [
        "```sh", f't2v generate "…" --checkpoint {name}', "```", "", "```python",
        "from t2v_core.diffusion.pipeline import TextToVideoPipeline", "",
        f'pipeline = TextToVideoPipeline.from_pretrained("{name}")',
        'video = pipeline("…", num_inference_steps=20, seed=1).frames[0]', "```",
    ]  # fmt: skip
    return "\n".join(lines)
