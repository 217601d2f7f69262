"""The shipped model: prompts obeyed over sampling seeds, on combinations it was trained on and on unseen ones, and the
time of a clip.

python benchmarks/learning/shipped_model.py [--prompts 48] [--seeds 2] [--checkpoint embedded]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from door import SHAPES, run, scores

from t2v_core.assemble import load_pipeline, suited
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.specs import GenerateSpec

CLIPS_TIMED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--checkpoint", default="embedded")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        run(workspace, "shapes", **SHAPES, clips=1, test_clips=216)
        asked = {"prompts": arguments.prompts, "seeds": arguments.seeds, "checkpoint": arguments.checkpoint}
        for combinations in ("seen", "unseen"):
            values = scores(run(workspace, "evaluate", **SHAPES, **asked, combinations=combinations))
            print(f"{combinations} combinations, {arguments.prompts} prompts × {arguments.seeds} seeds")
            for name, value in values.items():
                print(f"  {name:28} {value}")
    print_clip_time(arguments.checkpoint)


def print_clip_time(checkpoint: str) -> None:
    """Prompt, sampling and decoding of 8 frames of 64×64 as `t2v generate` has it; the start of Python is apart."""
    torch.set_num_threads(1)
    opened = open_checkpoint(Path(checkpoint))
    spec = suited(GenerateSpec(prompt="a red circle moving right"), opened, lambda *_: None)
    pipeline = load_pipeline(opened, device="cpu", precision="auto")
    seconds = []
    for seed in range(CLIPS_TIMED + 1):
        began = time.process_time()
        pipeline(spec.prompt, seed=seed, num_inference_steps=spec.steps, guidance_scale=spec.guidance_scale)
        seconds.append(time.process_time() - began)
    print(f"one clip: {statistics.median(seconds[1:]):.3f} CPU s (median of {CLIPS_TIMED}, after one to warm up)")


if __name__ == "__main__":
    main()
