"""Train the parts that t2v ships: `python -m t2v_core.recipes.make vae|clip|denoiser|fast`.

`vae` and `clip` train on freshly rendered clips. The denoiser and its distilled form come out of the ordinary trainer;
`denoiser` and `fast --checkpoint DIR` take from one of its checkpoints what generation needs. docs/embedded.md has
every command.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from t2v_core import embedded
from t2v_core.checkpoints.checkpoints import EMA, save_checkpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.recipes import clip_recipe, vae_recipe


def main() -> None:
    """Make one part and write it where it ships from (or to --output)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("vae", "clip", "denoiser", "fast"))
    parser.add_argument("--steps", type=int, help="optimiser steps (vae 2600, clip 1200)")
    parser.add_argument("--clips", type=int, default=1296, help="clips to render")
    parser.add_argument("--checkpoint", type=Path, help="denoiser, fast: the checkpoint to take")
    parser.add_argument("--output", type=Path, help="where to save (default: this package)")
    arguments = parser.parse_args()
    if arguments.part == "vae":
        vae_recipe.train(arguments.output or embedded.VAE, steps=arguments.steps or 2600, clips=arguments.clips)
    elif arguments.part == "clip":
        clip_recipe.train(arguments.output or embedded.CLIP, steps=arguments.steps or 1200, clips=arguments.clips)
    elif arguments.checkpoint is None:
        parser.error(f"{arguments.part} needs --checkpoint DIR")
    elif arguments.part == "denoiser":
        ship(arguments.checkpoint, arguments.output or embedded.DENOISER)
    else:
        ship(arguments.checkpoint, arguments.output or embedded.FAST, dtype=torch.float16)


def ship(checkpoint: Path, output: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Copy the averaged weights and `trainer.json` of a checkpoint: a quarter of it, and all that generation needs.

    dtype: of the file; a model computes in what `--precision` says, whatever that is
    """
    source = open_checkpoint(checkpoint)
    save_checkpoint(
        output, {EMA: {name: value.to(dtype) for name, value in source.weights("ema").items()}}, source.info
    )
    print(f"{output}: step {source.step}, held-out loss {source.held_out_loss}")


if __name__ == "__main__":
    main()
