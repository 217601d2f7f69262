"""A motion that the shipped model never saw, taught from 24 clips: what it costs, and what is forgotten of the rest.

python benchmarks/learning/teach_motion.py [--known 48] [--known 216] [--scale 1] [--scale 1.3] [--workspace DIR]

The clips show each colour and shape moving right and down at once, which no clip of the world does. Beside them lie
`--known` clips of the world as it was, and an adapter is trained on both. What is drawn is read from its pixels, with
the same prompts and noise before and after, with the adapter counted as often as each `--scale` says.

Not a colour: the shipped VAE was trained on the world's six. It gives back cyan, pink and grey clips in other colours,
all of 24, and turns tints of one between two known ones into either; no denoiser can draw what its VAE cannot.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from door import ENCODERS, SHAPES, result, run, scores
from numpy.typing import NDArray

from t2v_core.assemble import load_pipeline
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.data.annotations.annotation_forms import ANNOTATION_FILES
from t2v_core.data.shapes.judge import judge
from t2v_core.data.shapes.shapes import CLIP_CRF, COLOURS, Scene, shape_coverage
from t2v_core.data.shapes.shapes import SHAPES as FORMS
from t2v_core.data.video.frames import write_video
from t2v_core.disk.files import write_json
from t2v_core.models.encoders import load_vae
from t2v_core.models.lora.asked import AskedLora

Clip = NDArray[np.uint8]
MOTION = "moving right and down"
SCENES = [Scene(colour, shape, MOTION) for colour in COLOURS for shape in FORMS]
CLIPS, FRAMES, SIDE = 24, 8, 64
TEST_CLIPS = 216
WORDS = ("colour", "shape", "motion")
# Of the way along each side, in shares of the frame: the clips have .25 at the least. One step may be so much of it, as
# for the judge's own motions, and the two sides may differ by so much.
LEAST_WAY, LARGEST_STEP, MOST_SLANT = 0.12, 0.45, 2.0


@dataclass(frozen=True)
class Taught:
    """known: clips of the old world beside the new ones; the rest is of the training"""

    known: int
    steps: int
    rank: int
    targets: str
    rate: float
    batch_size: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--known", type=int, action="append", help="several make several trainings (default: 216)")
    parser.add_argument("--scale", type=float, action="append", help="of the adapter, a row each (default: 1 and 1.3)")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--targets", default="all")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2, help="videos a prompt")
    parser.add_argument("--prompts", type=int, default=TEST_CLIPS, help="of the world as it was")
    parser.add_argument("--workspace", type=Path, help="keep the work here (default: a temporary folder)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        workspace = asked.workspace or Path(folder)
        run(workspace, "shapes", **SHAPES, clips=1, test_clips=TEST_CLIPS)
        print_what_the_vae_keeps()
        names = [f"{kind} {word}" for kind in ("new", "old") for word in WORDS]
        print(f"{'known, scale':14}" + "".join(f"{name:>16}" for name in (*names, "CPU minutes")), flush=True)
        print_row("before", drawn_new(asked.seeds, None), known_world(workspace, asked, None), None)
        for known in asked.known or [216]:
            taught = Taught(known, asked.steps, asked.rank, asked.targets, asked.rate, asked.batch_size)
            adapter, minutes = teach(workspace, taught)
            for scale in asked.scale or [1.0, 1.3]:
                lora = AskedLora(adapter, scale)
                new, old = drawn_new(asked.seeds, lora), known_world(workspace, asked, lora)
                print_row(f"{known}, {scale:g}", new, old, minutes)


def new_clips() -> list[tuple[Scene, Clip]]:
    rng = np.random.default_rng([24, 0])
    return [(scene, diagonal(scene, rng)) for scene in (SCENES[number % len(SCENES)] for number in range(CLIPS))]


def diagonal(scene: Scene, rng: np.random.Generator) -> Clip:
    """Draw a clip as `render` does, with the same tints, backgrounds and sizes."""
    background, colour = rng.uniform(18, 52), np.array(COLOURS[scene.colour]) + rng.uniform(-12, 12, 3)
    radius, way = rng.uniform(8, 13), rng.uniform(16, 24)
    room = (SIDE - 2.4 * radius - way) / 2
    middle = SIDE / 2 + rng.uniform(-1, 1, 2) * room
    clip = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
    for index, progress in enumerate(np.linspace(-0.5, 0.5, FRAMES)):
        coverage = shape_coverage(scene.shape, middle + progress * way, radius, SIDE)[..., None]
        clip[index] = np.round(background * (1 - coverage) + np.clip(colour, 0, 255) * coverage)
    return clip


def goes_diagonally(clip: Clip) -> bool:
    """Tell from the pixels whether what a clip shows goes to the right and down at once, evenly."""
    images = clip.astype(np.float64)
    background = np.median(np.concatenate([images[:, 0], images[:, -1]], axis=1), axis=1)[:, None, None]
    weight = np.linalg.norm(images - background, axis=-1)
    weight = np.clip(weight / weight.max((1, 2), keepdims=True) - 0.25, 0, None)  # haze is background
    total, places = weight.sum((1, 2)), (np.arange(SIDE) + 0.5) / SIDE
    path = np.stack([weight.sum(1) @ places / total, weight.sum(2) @ places / total], axis=1)
    way, steps = path[-1] - path[0], np.diff(path, axis=0)
    if way.min() < LEAST_WAY or way.max() > MOST_SLANT * way.min():
        return False
    return bool((steps <= LARGEST_STEP * way).all() and (steps >= -0.1 * way).all())


def shown(clip: Clip, scene: Scene) -> tuple[bool, bool, bool]:
    verdict = judge(clip)
    return verdict.colour == scene.colour, verdict.shape == scene.shape, goes_diagonally(clip)


def print_what_the_vae_keeps() -> None:
    """Say how many of the new clips come back from the VAE as what they are."""
    vae = load_vae("embedded", device="cpu")
    kept = sum(all(shown(vae.decode(vae.encode(torch.from_numpy(clip))).numpy(), scene)) for scene, clip in new_clips())
    print(f"through the VAE and back, {kept} of {CLIPS} new clips show what they are of")


def teach(workspace: Path, taught: Taught) -> tuple[Path, float]:
    """Make the set, train the adapter; return its checkpoint and the CPU minutes of preparing and training."""
    data, began = f"data/diagonal-{taught.known}", cpu_seconds_of_jobs()
    if not (workspace / data).is_dir():
        run(workspace, "shapes", data=data, clips=max(1, taught.known), test_clips=1, seed=1)
        add_clips(workspace / data, is_alone=not taught.known)
    run(workspace, "preprocess", data=data, **ENCODERS)
    folder = "checkpoints/" + "-".join(str(value) for value in astuple(taught))
    asked = {
        "base": "embedded", "lora": True, "lora_rank": taught.rank, "lora_targets": taught.targets,
        "learning_rate": taught.rate, "lr_schedule": "cosine", "batch_size": taught.batch_size,
        "max_steps": taught.steps, "epochs": 10**6, "held_out_clips": 0, "checkpoint_every": 10**6, "samples": 0,
    }  # fmt: skip
    trained = result(run(workspace, "train", data=data, checkpoints=folder, **asked))
    return workspace / trained["checkpoint"], (cpu_seconds_of_jobs() - began) / 60


def add_clips(dataset: Path, *, is_alone: bool) -> None:
    """Put the new clips beside those of a set; or in their place, where there should be none."""
    file = dataset / "annotations" / ANNOTATION_FILES["train"][0]
    rows = [] if is_alone else json.loads(file.read_text())
    for number, (scene, clip) in enumerate(new_clips()):
        name = f"diagonal{number}"
        write_video(dataset / "videos" / f"{name}.mp4", clip, fps=8, crf=CLIP_CRF)
        rows.append({"video_id": name, "video": f"{name}.mp4", "caption": scene.captions()})
    write_json(file, rows)


def drawn_new(seeds: int, lora: AskedLora | None) -> dict[str, float]:
    """Draw each colour and shape in the new motion; return the share of videos that show each word."""
    loras = [] if lora is None else [lora]
    pipeline = load_pipeline(open_checkpoint(Path("embedded")), device="cpu", precision="auto", loras=loras)
    found = []
    for seed in range(seeds):
        videos = pipeline([scene.caption for scene in SCENES], seed=1000 * (seed + 1)).frames
        found += [shown(video.numpy(), scene) for video, scene in zip(videos, SCENES, strict=True)]
    return {word: sum(one[at] for one in found) / len(found) for at, word in enumerate(WORDS)}


def known_world(workspace: Path, asked: argparse.Namespace, lora: AskedLora | None) -> dict[str, float]:
    """Score prompts of the world as it was, half of them of combinations kept out of training."""
    beside = {} if lora is None else {"lora": f"{lora.path}:{lora.scale}"}
    given = {"checkpoint": "embedded", "prompts": asked.prompts // 2, "seeds": asked.seeds}
    values: dict[str, float] = {}
    for combinations in ("seen", "unseen"):  # test clips take turns: every other one would be of one kind only
        values |= scores(run(workspace, "evaluate", **SHAPES, **given, combinations=combinations, **beside))
    return {word: sum(values[f"{word}_obeyed_{group}"] for group in ("seen", "unseen")) / 2 for word in WORDS}


def print_row(name: str, new: dict[str, float], old: dict[str, float], minutes: float | None) -> None:
    figures = "".join(f"{values[word]:16.3f}" for values in (new, old) for word in WORDS)
    print(f"{name:14}{figures}" + (f"{minutes:16.1f}" if minutes is not None else ""), flush=True)


def cpu_seconds_of_jobs() -> float:
    """Of the child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
