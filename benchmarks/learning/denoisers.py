"""The U-Net beside the transformer: the same data, seed and steps; what is obeyed, and the CPU time of training.

python benchmarks/learning/denoisers.py [--clips 2160] [--epochs 61] [--unet-epochs 61]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from door import SHAPES, make_world, result, run, scores

SHOWN = ("colour_obeyed_seen", "shape_obeyed_seen", "motion_obeyed_seen", "all_obeyed_seen", "jitter_px_seen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=2160)
    parser.add_argument("--epochs", type=int, default=61, help="131 steps each with 2160 clips")
    parser.add_argument("--unet-epochs", type=int, help="of the U-Net, for equal time (default: as many, equal steps)")
    parser.add_argument("--workspace", type=Path, help="keep the work here (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = arguments.workspace or Path(folder)
        make_world(workspace, clips=arguments.clips, test_clips=216)
        names = [*(name.removesuffix("_seen") for name in SHOWN), "clip_score", "steps", "CPU minutes"]
        print(f"{'preset':12}" + "".join(f"{name:>15}" for name in names))
        print_row(workspace, "tiny", arguments.epochs)
        print_row(workspace, "unet3d-tiny", arguments.unet_epochs or arguments.epochs)


def print_row(workspace: Path, preset: str, epochs: int) -> None:
    """Train, score 48 prompts with 2 seeds, and print the line."""
    asked = {"preset": preset, "epochs": epochs, "checkpoint_every": epochs, "samples": 0, "checkpoints": preset}
    began = cpu_seconds_of_jobs()
    trained = result(run(workspace, "train", **SHAPES, **asked))
    minutes = (cpu_seconds_of_jobs() - began) / 60
    prompts = {"checkpoint": trained["checkpoint"], "combinations": "seen", "prompts": 48, "seeds": 2}
    values = scores(run(workspace, "evaluate", **SHAPES, **prompts))
    figures = [*(values[name] for name in SHOWN), values["clip_generated"]]
    print(f"{preset:12}" + "".join(f"{x:15.3f}" for x in figures) + f"{trained['steps']:15}{minutes:15.1f}", flush=True)


def cpu_seconds_of_jobs() -> float:
    """Of the child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
