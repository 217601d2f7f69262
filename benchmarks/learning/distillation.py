"""A distillation of the shipped model from its beginning to its end: its time, and what the flow map obeys in 1 to 32
passes beside its teacher.

python benchmarks/learning/distillation.py [--workspace DIR] [--checkpoint embedded-fast]    with a folder it resumes
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from door import SHAPES, make_world, result, run, scores

from t2v_core.checkpoints.checkpoints import latest_checkpoint

CLIPS, TEST_CLIPS = 2160, 216
KINDS = ("seen", "unseen")
SHOWN = ("colour_obeyed", "shape_obeyed", "motion_obeyed", "all_obeyed", "jitter_px")
TEACHER: tuple[dict[str, Any], ...] = ({"steps": 20}, {"steps": 8, "sampler": "dpm++"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, help="work here and keep it (default: a temporary folder)")
    parser.add_argument("--checkpoint", help="score this one (default: distil one)")
    parser.add_argument("--epochs", type=int, default=16, help="134 steps each; a schedule of 2 tells what helps")
    parser.add_argument("--passes", type=int, nargs="+", default=[1, 2, 3, 4, 8, 16, 32])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--no-teacher", action="store_true", help="leave the teacher's own rows out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = arguments.workspace or Path(folder)
        if not (workspace / "data/shapes/latents").is_dir():
            make_world(workspace, clips=CLIPS, test_clips=TEST_CLIPS)
        print("| model | passes | combinations | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |")
        print("|---" * (3 + len(SHOWN)) + "|")
        for asked in () if arguments.no_teacher else TEACHER:
            name, passes = asked.get("sampler", "euler"), 2 * asked["steps"]
            print_rows(workspace, f"teacher, {name} {asked['steps']}", passes, arguments.seeds, **asked)
        checkpoint = arguments.checkpoint or distilled(workspace, arguments.epochs)
        for passes in arguments.passes:
            print_rows(workspace, "flow map", passes, arguments.seeds, steps=passes, checkpoint=checkpoint)


def distilled(workspace: Path, epochs: int) -> str:
    """Distil, or go on with it; returns the last checkpoint."""
    folder = workspace / "checkpoints/fast"
    goes_on = (
        {"resume": True}
        if latest_checkpoint(folder) is not None
        else {"distill": "embedded", "distill_guidance": 3.0, "epochs": epochs, **SHAPES}
    )
    began = cpu_minutes()
    ended = result(run(workspace, "train", checkpoints="checkpoints/fast", samples=0, **goes_on))
    print(f"{ended['steps']} steps in {cpu_minutes() - began:.1f} CPU minutes of this run", flush=True)
    return str(ended["checkpoint"])


def print_rows(workspace: Path, name: str, passes: int, seeds: int, **asked: Any) -> None:
    """Score 48 prompts of combinations seen in training, and 48 of those kept out."""
    for kind in KINDS:
        wanted = {"checkpoint": "embedded", "prompts": 48, "seeds": seeds, "combinations": kind} | asked
        values = scores(run(workspace, "evaluate", **SHAPES, **wanted))
        figures = " | ".join(f"{values[f'{one}_{kind}']:.3f}" for one in SHOWN)
        print(f"| {name} | {passes} | {kind} | {figures} |", flush=True)


def cpu_minutes() -> float:
    """Of the child processes that have ended."""
    times = os.times()
    return (times.children_user + times.children_system) / 60


if __name__ == "__main__":
    main()
