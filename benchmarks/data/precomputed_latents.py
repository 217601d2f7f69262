"""What precomputed latents save: a sample made on the fly against one loaded from the store, and the training step.

python benchmarks/data/precomputed_latents.py [--frames 4] [--preset base] [--rounds 5]

speed-up = (t_fly + t_step) / (t_load + t_step), a clip; it is 10 only where t_step = (t_fly - 10 t_load) / 9.
Full-size VAE and CLIP with random weights, fp32; everything in turns. Real runs have 16 frames: VAE and step grow with
the frames, decoding hardly does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from full_size import save_clip_text, save_data_set, save_sd_vae

from t2v_core.data.annotations.msrvtt import read_annotations
from t2v_core.data.store.batches import load_batch
from t2v_core.data.video.decode import read_frames
from t2v_core.data.video.resize import resize_and_crop
from t2v_core.events import EventWriter
from t2v_core.job import Job
from t2v_core.models.encoders import load_prompt_encoder, load_vae
from t2v_core.specs import PreprocessSpec, TrainSpec
from t2v_core.training.setup import start_run
from t2v_core.training.trainer import Trainer
from t2v_core.verbs.preprocess import preprocess
from t2v_core.workspace import Dataset, Workspace, create_job_directory

CLIPS, CAPTIONS, SECONDS = 4, 5, 15.0
LOADS = 200  # a timing of one read would be mostly the clock's
FLY = ("decode and resize", "VAE", "text, one caption")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4, help="a clip")
    parser.add_argument("--size", type=int, default=256, help="height and width")
    parser.add_argument("--preset", default="base", help="of the model that is trained; 4 GB for base and seed")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.chdir(root)
        save_sd_vae(root / "vae")
        save_clip_text(root / "clip")
        save_data_set(root / "data", clips=CLIPS, captions=CAPTIONS, seconds=SECONDS)
        spec = PreprocessSpec(
            data=Path("data"), vae="./vae", text_encoder="./clip", frames=arguments.frames, size=arguments.size,
            device="cpu",
        )  # fmt: skip
        preprocess(spec, new_job(root, "preprocess"))
        parts = {**encoding(root, arguments.frames, arguments.size), **training(root, arguments.preset)}
        seconds = measure(parts, arguments.rounds)
    print(
        f"a clip of {SECONDS:g} s, {arguments.frames} frames of {arguments.size} x {arguments.size}, batch 1, fp32, "
        f"{torch.get_num_threads()} threads; medians of {arguments.rounds}, in turns"
    )
    report(seconds, arguments.preset)


def new_job(root: Path, verb: str) -> Job:
    directory = create_job_directory(Workspace(root), verb)
    return Job(directory, Workspace(root), EventWriter(directory / "events.jsonl"))


def encoding(root: Path, frames: int, size: int) -> dict[str, Callable[[], object]]:
    """What a clip costs when nothing is stored."""
    clip = read_annotations(Dataset(root / "data"), "train")[0]
    vae, text = load_vae("./vae"), load_prompt_encoder("./clip")

    def decode() -> torch.Tensor:
        return resize_and_crop(torch.from_numpy(read_frames(clip.path, frames).frames), size)

    ready = decode()
    return dict(zip(FLY, (decode, lambda: vae.encode(ready), lambda: text.encode(clip.captions[:1])), strict=True))


def training(root: Path, preset: str) -> dict[str, Callable[[], object]]:
    """Loading a clip and one of its captions from the store, and an optimiser step on it."""
    spec = TrainSpec(
        preset=preset, data=Path("data"), checkpoints=Path("checkpoints"), batch_size=1, gradient_accumulation=1,
        held_out_clips=0, samples=0, latents_in_memory="no", device="cpu",
    )  # fmt: skip
    job = new_job(root, "train")
    trainer = Trainer(start_run(spec, job), job)
    store = trainer.run.store
    batch = load_batch(store, [0], 0, 0)
    return {
        "step": lambda: trainer._step([batch]),
        "load": lambda: [load_batch(store, [number % CLIPS], 0, number) for number in range(LOADS)],
    }


def measure(parts: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each part; the first round, which sets kernels and optimiser states up, does not count."""
    seconds = defaultdict(list)
    for _ in range(rounds + 1):
        for name, part in parts.items():
            began = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - began)
        print({name: round(values[-1], 3) for name, values in seconds.items()}, file=sys.stderr, flush=True)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}
    return medians | {"load": medians["load"] / LOADS}


def report(seconds: dict[str, float], preset: str) -> None:
    """The split, the ratio, and the step time at which it would be 10."""
    t_fly, t_load, t_step = sum(seconds[name] for name in FLY), seconds["load"], seconds["step"]
    for name in FLY:
        print(f"{name:22}{seconds[name]:10.4f} s  {seconds[name] / t_fly:6.1%}")
    print(f"{'on the fly':22}{t_fly:10.4f} s")
    print(f"{'load from the store':22}{t_load:10.6f} s  {t_fly / t_load:,.0f} x less")
    print(f"{f'training step, {preset}':22}{t_step:10.4f} s")
    ratio, tenfold = (t_fly + t_step) / (t_load + t_step), (t_fly - 10 * t_load) / 9
    print(f"speed-up {ratio:.2f} x; 10 x where a step takes {tenfold:.3f} s")


if __name__ == "__main__":
    main()
