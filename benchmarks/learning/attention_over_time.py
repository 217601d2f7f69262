"""Attention over time on against off: the same data, steps and seed; how often the motion is obeyed, and the jitter.

python benchmarks/learning/attention_over_time.py [--clips 2160] [--epochs 61]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from door import SHAPES, make_world, run, scores

SHOWN = ("colour_obeyed_seen", "shape_obeyed_seen", "motion_obeyed_seen", "all_obeyed_seen", "jitter_px_seen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=2160)
    parser.add_argument("--epochs", type=int, default=61, help="131 steps each with 2160 clips")
    parser.add_argument("--workspace", type=Path, help="keep the work here (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = arguments.workspace or Path(folder)
        make_world(workspace, clips=arguments.clips, test_clips=216)
        print(f"{'attention':16}" + "".join(f"{name.removesuffix('_seen'):>16}" for name in SHOWN))
        for attention in ("joint+temporal", "frame"):
            print_row(workspace, attention, arguments.epochs)


def print_row(workspace: Path, attention: str, epochs: int) -> None:
    """Train, score 48 prompts with 2 seeds, and print the line."""
    folder = f"checkpoints-{attention}"
    run(
        workspace,
        "train",
        **SHAPES,
        preset="tiny",
        attention=attention,
        epochs=epochs,
        checkpoint_every=epochs,
        samples=0,
        checkpoints=folder,
    )
    checkpoint = next((workspace / folder).glob("checkpoint_*"))
    asked = {"checkpoint": str(checkpoint), "combinations": "seen", "prompts": 48, "seeds": 2}
    values = scores(run(workspace, "evaluate", **SHAPES, **asked))
    print(f"{attention:16}" + "".join(f"{values[name]:16.3f}" for name in SHOWN), flush=True)


if __name__ == "__main__":
    main()
