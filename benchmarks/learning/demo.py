"""`t2v demo` from nothing: time of each step and in all, disk, and what the fresh training learned beside an untrained
model.

python benchmarks/learning/demo.py [--keep DIR]      as root it runs without a network, in a namespace of its own
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from door import SHAPES, run, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="work here and keep it (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = arguments.keep or Path(folder) / "demo"
        offline = ["unshare", "--net"] if os.geteuid() == 0 else []
        began = time.monotonic()
        shown = subprocess.run(
            [*offline, sys.executable, "-m", "t2v_tui.cli.main", "--json", "demo", str(workspace)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        seconds = time.monotonic() - began
        for step in json.loads(shown):
            print(f"  {step['seconds']:7.1f} s  {step['verb']}")
        print(f"{seconds:9.1f} s in all, {'no network' if offline else 'network not cut'}, {os.cpu_count()} cores")
        print_disk(workspace)
        print_learned(workspace)


def print_disk(workspace: Path) -> None:
    for what, folder in (("demo", workspace), ("environment", Path(sys.prefix))):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
        print(f"  {size / 1e9:7.2f} GB {what}")


def print_learned(workspace: Path) -> None:
    """48 test prompts of both kinds, 2 seeds, guidance 3 as in the demo."""
    untrained = {**SHAPES, "preset": "unet3d-tiny", "max_steps": 1, "samples": 0, "checkpoints": "untrained"}
    run(workspace, "train", **untrained)
    fresh = next((workspace / "checkpoints").glob("checkpoint_epoch_*"))
    for name, checkpoint in (("untrained", workspace / "untrained/checkpoint_step_1"), ("fresh", fresh)):
        asked = {"checkpoint": str(checkpoint), "prompts": 48, "seeds": 2, "guidance_scale": 3.0}
        values = scores(run(workspace, "evaluate", **SHAPES, **asked))
        words = [f"{word}_obeyed_{kind}" for word in ("colour", "shape", "motion") for kind in ("seen", "unseen")]
        shown = ", ".join(f"{key} {values[key]}" for key in (*words, "clip_generated"))
        print(f"  {name:10} {shown}")


if __name__ == "__main__":
    main()
