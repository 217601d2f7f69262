"""A colour that the shipped model never saw, taught from 24 clips; what it costs, and what is forgotten of the rest.

python benchmarks/teach_colour.py [--known 0] [--known 96] [--workspace DIR]

The clips show each shape and motion in the new colour. Beside them lie `--known` clips of the world as it was, and an
adapter is trained on both. What is drawn is judged by its pixels, with the same prompts and noise before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from door import ENCODERS, SHAPES, result, run, scores

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.annotations.annotation_forms import ANNOTATION_FILES
from t2v_core.data.shapes.judge import judge, obeys
from t2v_core.data.shapes.shapes import CLIP_CRF, COLOURS, MOTIONS, Colour, Scene, render
from t2v_core.data.shapes.shapes import SHAPES as FORMS
from t2v_core.data.video.frames import write_video
from t2v_core.disk.files import write_json
from t2v_core.models.encoders import load_vae
from t2v_core.models.lora.asked import AskedLora

# Far from every colour of the world: the nearest, blue, is 112 away, and the judge takes what is within 50.
NEW: dict[str, Colour] = {"cyan": (40, 190, 200), "orange": (240, 130, 30), "pink": (240, 120, 170)}
CLIPS = 24
TEST_CLIPS = 216
WORDS = ("colour", "shape", "motion")


@dataclass(frozen=True)
class Taught:
    """known: clips of the old world beside the new ones; the rest is of the training"""

    known: int
    steps: int
    rank: int
    targets: str
    rate: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known", type=int, action="append", help="several make several rows (default: 0 and 96)")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--targets", default="all")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--colour", choices=NEW, default="cyan")
    parser.add_argument("--seeds", type=int, default=2, help="videos a prompt")
    parser.add_argument("--prompts", type=int, default=TEST_CLIPS, help="of the world as it was")
    parser.add_argument("--workspace", type=Path, help="keep the work here (default: a temporary folder)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = asked.workspace or Path(folder)
        run(workspace, "shapes", **SHAPES, clips=1, test_clips=TEST_CLIPS)
        print_what_the_encoders_keep(asked.colour)
        names = [f"{asked.colour} {word}" for word in WORDS] + [f"old {word}" for word in WORDS]
        print(f"{'known clips':12}" + "".join(f"{name:>14}" for name in (*names, "CPU minutes")), flush=True)
        old = known_world(workspace, asked.prompts, asked.seeds, None)
        print_row("before", new_colour(asked.colour, asked.seeds, None), old, None)
        for known in asked.known or [0, 96]:
            taught = Taught(known, asked.steps, asked.rank, asked.targets, asked.rate)
            adapter, minutes = teach(workspace, asked.colour, taught)
            new = new_colour(asked.colour, asked.seeds, adapter)
            print_row(str(known), new, known_world(workspace, asked.prompts, asked.seeds, adapter), minutes)


def scenes_of(colour: str) -> list[Scene]:
    return [Scene(colour, shape, motion) for shape in FORMS for motion in MOTIONS]


def new_clips(colour: str) -> Iterator[tuple[Scene, np.ndarray[Any, np.dtype[np.uint8]]]]:
    rng, scenes = np.random.default_rng([24, 0]), scenes_of(colour)
    for number in range(CLIPS):
        scene = scenes[number % len(scenes)]
        yield scene, render(scene, rng, colours=COLOURS | NEW)


def print_what_the_encoders_keep(colour: str) -> None:
    """Say how many of the clips the VAE gives back in a colour that the judge names."""
    vae = load_vae("embedded", device="cpu")
    kept = 0
    for scene, clip in new_clips(colour):
        back = vae.decode(vae.encode(torch.from_numpy(clip)))
        kept += all(obeys(judge(back.numpy(), colours=COLOURS | NEW), scene))
    print(f"through the VAE and back, the judge reads {kept} of {CLIPS} {colour} clips right")


def teach(workspace: Path, colour: str, taught: Taught) -> tuple[Path, float]:
    """Make the set, train the adapter; return its checkpoint and the CPU minutes of both."""
    data, began = f"data/{colour}-{taught.known}", cpu_seconds_of_jobs()
    if not (workspace / data).is_dir():
        run(workspace, "shapes", data=data, clips=max(1, taught.known), test_clips=1, seed=1)
        add_clips(workspace / data, colour, is_alone=not taught.known)
    run(workspace, "preprocess", data=data, **ENCODERS)
    folder = f"checkpoints/{colour}-{taught.known}-{taught.steps}-{taught.rank}-{taught.targets}-{taught.rate:g}"
    asked = {"base": "embedded", "lora": True, "lora_rank": taught.rank, "lora_targets": taught.targets,
             "learning_rate": taught.rate, "max_steps": taught.steps, "epochs": 10**6, "held_out_clips": 0,
             "checkpoint_every": 10**6, "samples": 0, "lr_schedule": "cosine"}  # fmt: skip
    trained = result(run(workspace, "train", data=data, checkpoints=folder, **asked))
    return workspace / trained["checkpoint"], (cpu_seconds_of_jobs() - began) / 60


def add_clips(dataset: Path, colour: str, *, is_alone: bool) -> None:
    """Put the new clips beside those of a set; or in their place, where there should be none."""
    file = dataset / "annotations" / ANNOTATION_FILES["train"][0]
    rows = [] if is_alone else json.loads(file.read_text())
    for number, (scene, clip) in enumerate(new_clips(colour)):
        name = f"{colour}{number}"
        write_video(dataset / "videos" / f"{name}.mp4", clip, fps=8, crf=CLIP_CRF)
        rows.append({"video_id": name, "video": f"{name}.mp4", "caption": scene.captions()})
    write_json(file, rows)


def new_colour(colour: str, seeds: int, adapter: Path | None) -> dict[str, float]:
    """Draw each shape and motion in the new colour; return the share of videos that show each word."""
    loras = [] if adapter is None else [AskedLora(adapter)]
    torch.set_num_threads(1)
    pipeline = load_pipeline(open_checkpoint(Path("embedded")), device="cpu", precision="auto", loras=loras)
    scenes = scenes_of(colour)
    found = []
    for seed in range(seeds):
        videos = pipeline([scene.caption for scene in scenes], seed=1000 * (seed + 1)).frames
        found += [obeys(judge(v.numpy(), colours=COLOURS | NEW), s) for v, s in zip(videos, scenes, strict=True)]
    return {word: sum(getattr(one, word) for one in found) / len(found) for word in WORDS}


def known_world(workspace: Path, prompts: int, seeds: int, adapter: Path | None) -> dict[str, float]:
    """Score prompts of the world as it was, half of them of combinations kept out of training."""
    lora = {} if adapter is None else {"lora": str(adapter)}
    asked = {"checkpoint": "embedded", "prompts": prompts, "seeds": seeds}
    values = scores(run(workspace, "evaluate", **SHAPES, **asked, **lora))
    return {word: sum(values[f"{word}_obeyed_{group}"] for group in ("seen", "unseen")) / 2 for word in WORDS}


def print_row(name: str, new: dict[str, float], old: dict[str, float], minutes: float | None) -> None:
    figures = "".join(f"{values[word]:14.3f}" for values in (new, old) for word in WORDS)
    print(f"{name:12}{figures}" + (f"{minutes:14.1f}" if minutes is not None else ""), flush=True)


def cpu_seconds_of_jobs() -> float:
    """Of the child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
