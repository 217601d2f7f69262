"""What helps a training on the built-in world: each trick beside the baseline, the same data, steps and seeds.

python benchmarks/recipes.py --workspace DIR [--only baseline muon] [--epochs 10] [--seeds 0]

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
# Each by the one or two settings that it is.
RECIPES: dict[str, dict[str, Any]] = {
    "baseline": {},
    "muon": {"optimizer": "muon"},
    "contrast": {"contrast": 0.05},
    "muon + contrast": {"optimizer": "muon", "contrast": 0.05},
    "more noise": {"timestep_logit_mean": 0.5},
    "longer average": {"ema_decay": 0.999},
    "muon, half the rate": {"optimizer": "muon", "learning_rate": 1e-3},
    "convolutions": {"preset": "unet3d-tiny"},
}
SHOWN = ("colour_obeyed", "shape_obeyed", "motion_obeyed", "all_obeyed", "jitter_px")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True, help="where it works, and goes on")
    parser.add_argument("--only", nargs="+", choices=tuple(RECIPES), default=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=10, help="131 steps each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--print", action="store_true", help="only print what is there")
    arguments = parser.parse_args()
    results = arguments.workspace / "recipes.jsonl"
    if not arguments.print:
        if not (arguments.workspace / "data/shapes/latents").is_dir():
            make_world(arguments.workspace, clips=CLIPS, test_clips=TEST_CLIPS)
        done = {(row["recipe"], row["epochs"], row["seed"]) for row in read(results)}
        for seed in arguments.seeds:
            for recipe in arguments.only:
                if (recipe, arguments.epochs, seed) not in done:
                    row = trained_and_scored(arguments.workspace, recipe, arguments.epochs, seed)
                    with results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    print_table(read(results))


def trained_and_scored(workspace: Path, recipe: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train, or go on with it; the CPU minutes are those of the last stretch."""
    folder = f"checkpoints/recipes/{recipe.replace(', ', '-').replace(' ', '-')}-{epochs}-{seed}"
    asked: dict[str, Any] = {"checkpoints": folder, "epochs": epochs, "samples": 0}
    if latest_checkpoint(workspace / folder) is not None:
        asked["resume"] = True
    else:
        asked |= {**SHAPES, "preset": "tiny", "seed": seed, "checkpoint_every": 5} | RECIPES[recipe]
    began = cpu_minutes()
    ended = result(run(workspace, "train", **asked))
    minutes = cpu_minutes() - began
    wanted = {"checkpoint": ended["checkpoint"], "prompts": 96, "seeds": 2}
    values = scores(run(workspace, "evaluate", **SHAPES, **wanted))
    row = {"recipe": recipe, "epochs": epochs, "seed": seed, "steps": ended["steps"], "minutes": round(minutes, 2)}
    return row | {name: values[name] for one in SHOWN for name in (f"{one}_seen", f"{one}_unseen")}


def read(results: Path) -> list[dict[str, Any]]:
    """What is there."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []


def print_table(rows: list[dict[str, Any]]) -> None:
    """Means over seeds, with the spread where there are several; seen / kept out."""
    print("| recipe | steps | seeds | CPU minutes | " + " | ".join(one.replace("_", " ") for one in SHOWN) + " |")
    print("|---" * (4 + len(SHOWN)) + "|")
    for recipe, epochs in dict.fromkeys((row["recipe"], row["epochs"]) for row in rows):
        alike = [row for row in rows if (row["recipe"], row["epochs"]) == (recipe, epochs)]
        cells = [recipe, str(alike[0]["steps"]), str(len(alike)), f"{statistics.mean(r['minutes'] for r in alike):.1f}"]
        cells += [f"{mean(alike, f'{one}_seen')} / {mean(alike, f'{one}_unseen')}" for one in SHOWN]
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
