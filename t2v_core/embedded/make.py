"""Train what this folder ships: `python -m t2v_core.embedded.make vae|clip [--steps N] [--output DIR]`.

The denoiser comes out of the ordinary trainer; `docs/embedded.md` has its three commands.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from t2v_core import embedded
from t2v_core.embedded import clip_recipe, vae_recipe


def main() -> None:
    """Train one part on freshly rendered clips and write it where it ships from (or to --output)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("vae", "clip"))
    parser.add_argument("--steps", type=int, help="optimiser steps (vae 2600, clip 1200)")
    parser.add_argument("--clips", type=int, default=1296, help="clips to render")
    parser.add_argument("--output", type=Path, help="where to save (default: this package)")
    arguments = parser.parse_args()
    if arguments.part == "vae":
        vae_recipe.train(arguments.output or embedded.VAE, steps=arguments.steps or 2600, clips=arguments.clips)
    else:
        clip_recipe.train(arguments.output or embedded.CLIP, steps=arguments.steps or 1200, clips=arguments.clips)


if __name__ == "__main__":
    main()
