"""What helps a training on the built-in world: each trick beside the baseline, the same data, steps and seeds.

python benchmarks/learning/recipes.py --workspace DIR [--preset tiny] [--only baseline muon] [--epochs 10] [--seeds 0]

It keeps what it has trained and scored in DIR and goes on from there; `--print` prints the table of what is there, as
docs/recipes.md has it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from door import SHAPES, make_world, result, run, scores

from t2v_core.checkpoints.checkpoints import latest_checkpoint

CLIPS, TEST_CLIPS = 2160, 216
# What every recipe of a preset has: convolutions as `t2v demo` trains them, which obey something after three minutes.
BASES: dict[str, dict[str, Any]] = {"tiny": {}, "unet3d-tiny": {"timestep_logit_mean": 1.0}}
# Each by the one or two settings that it is.
RECIPES: dict[str, dict[str, Any]] = {
    "baseline": {},
    "muon": {"optimizer": "muon"},
    "contrast": {"contrast": 0.05},
    "muon + contrast": {"optimizer": "muon", "contrast": 0.05},
    "half the noise": {"timestep_logit_mean": 0.5},
    "longer average": {"ema_decay": 0.999},
    "muon, half the rate": {"optimizer": "muon", "learning_rate": 1e-3},
    "one caption a clip": {"captions_per_clip": 1},
    "muon + layer sync": {"optimizer": "muon", "layer_sync": 0.2},
    "muon + token route": {"optimizer": "muon", "token_route": 0.5},
}
# One training, whose averages are made afterwards.
SNAPSHOTS: dict[str, Any] = {"power_averages": True, "checkpoint_every": 1}
AVERAGES = {f"averaged over {length:g}": length for length in (0.02, 0.05, 0.1, 0.15, 0.2)}
SHOWN = ("colour_obeyed", "shape_obeyed", "motion_obeyed", "all_obeyed", "jitter_px")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True, help="where it works, and goes on")
    parser.add_argument("--preset", choices=tuple(BASES), default="tiny")
    parser.add_argument("--only", nargs="+", choices=(*RECIPES, *AVERAGES), default=[*RECIPES, *AVERAGES])
    parser.add_argument("--epochs", type=int, default=10, help="131 steps each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--print", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    results = arguments.workspace / "recipes.jsonl"
    if not arguments.print:
        if not (arguments.workspace / "data/shapes/latents").is_dir():
            make_world(arguments.workspace, clips=CLIPS, test_clips=TEST_CLIPS)
        done = {(row["preset"], row["recipe"], row["epochs"], row["seed"]) for row in read(results)}
        for seed in arguments.seeds:
            for recipe in arguments.only:
                if (arguments.preset, recipe, arguments.epochs, seed) not in done:
                    row = trained_and_scored(arguments.workspace, arguments.preset, recipe, arguments.epochs, seed)
                    with results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    print_table(read(results))


def trained_and_scored(workspace: Path, preset: str, recipe: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train, or go on with it, and score; the CPU minutes are those of the last stretch of the training."""
    name = "snapshots" if recipe in AVERAGES else recipe.replace(", ", "-").replace(" ", "-")
    folder = f"checkpoints/recipes/{preset}/{name}-{epochs}-{seed}"
    asked: dict[str, Any] = {"checkpoints": folder, "epochs": epochs, "samples": 0}
    if latest_checkpoint(workspace / folder) is not None:
        asked["resume"] = True
    else:
        own = SNAPSHOTS if recipe in AVERAGES else RECIPES[recipe]
        asked |= {**SHAPES, "preset": preset, "seed": seed, "checkpoint_every": 5} | BASES[preset] | own
    began = cpu_minutes()
    ended = result(run(workspace, "train", **asked))
    minutes = cpu_minutes() - began
    checkpoint, loss = ended["checkpoint"], ended["held_out_loss"]
    if recipe in AVERAGES:  # of which no loss has been measured
        checkpoint, loss = exported(workspace, checkpoint, f"{folder}-{AVERAGES[recipe]}", AVERAGES[recipe]), None
    values = scores(run(workspace, "evaluate", **SHAPES, checkpoint=checkpoint, prompts=96, seeds=2))
    row = {"preset": preset, "recipe": recipe, "epochs": epochs, "seed": seed, "steps": ended["steps"]}
    row |= {"minutes": round(minutes, 2), "held_out_loss": loss}
    return row | {name: values[name] for one in SHOWN for name in (f"{one}_seen", f"{one}_unseen")}


def exported(workspace: Path, checkpoint: str, folder: str, length: float) -> str:
    """Export a checkpoint with its weights averaged over `length`; returns the folder."""
    if not (workspace / folder).is_dir():
        run(workspace, "export", checkpoint=checkpoint, folder=folder, average_length=length)
    return folder


def read(results: Path) -> list[dict[str, Any]]:
    """What is there."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []


def print_table(rows: list[dict[str, Any]]) -> None:
    """Means over seeds, with the spread where there are several; seen / kept out."""
    names = ["preset", "recipe", "steps", "seeds", "CPU minutes", *(one.replace("_", " ") for one in SHOWN)]
    print(f"| {' | '.join([*names, 'held-out loss'])} |")
    print("|---" * (len(names) + 1) + "|")
    kinds = [(row["preset"], row["recipe"], row["epochs"]) for row in rows]
    for kind in dict.fromkeys(kinds):
        alike = [row for row, own in zip(rows, kinds, strict=True) if own == kind]
        cells = [*kind[:2], str(alike[0]["steps"]), str(len(alike)), f"{mean(alike, 'minutes')}"]
        cells += [f"{mean(alike, f'{one}_seen')} / {mean(alike, f'{one}_unseen')}" for one in SHOWN]
        cells.append("" if alike[0]["held_out_loss"] is None else mean(alike, "held_out_loss"))
        print(f"| {' | '.join(cells)} |")


def mean(rows: list[dict[str, Any]], name: str) -> str:
    """`.91`, or `.91 ± .02` with the standard deviation over training seeds."""
    values = [row[name] for row in rows]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


def cpu_minutes() -> float:
    """Of the child processes that have ended."""
    times = os.times()
    return (times.children_user + times.children_system) / 60


if __name__ == "__main__":
    main()
