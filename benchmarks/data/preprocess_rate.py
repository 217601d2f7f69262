"""Preprocessing as a whole against the VAE alone on frames that are in memory, full-size encoders, interleaved.

python benchmarks/data/preprocess_rate.py [--frames 4] [--captions 5] [--clips 4] [--rounds 5]

Preprocessing counts from the first clip to the manifests: decoding, resizing, VAE, text, shards, checksums; loading the
encoders does not. Real clips have 16 frames and 20 captions; with fewer frames, decoding weighs more than there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from full_size import save_clip_text, save_data_set, save_sd_vae

from t2v_core.data.annotations.msrvtt import read_annotations
from t2v_core.data.store.ahead import ReadyClip, decode_ahead
from t2v_core.data.store.buckets import Bucket
from t2v_core.events import EventWriter, StageEvent, read_events
from t2v_core.job import Job
from t2v_core.models.encoders import VideoAutoencoder, load_vae
from t2v_core.specs import PreprocessSpec
from t2v_core.verbs.preprocess import preprocess
from t2v_core.workspace import Dataset, Workspace, create_job_directory

SECONDS = 15.0
BAR = 1.10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=4, help="a clip")
    parser.add_argument("--captions", type=int, default=5, help="a clip")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="height and width")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.chdir(root)
        save_sd_vae(root / "vae")
        save_clip_text(root / "clip")
        save_data_set(root / "data", clips=arguments.clips, captions=arguments.captions, seconds=SECONDS)
        spec = PreprocessSpec(
            data=Path("data"), vae="./vae", text_encoder="./clip", frames=arguments.frames, size=arguments.size,
            batch_frames=2 * arguments.frames, device="cpu",
        )  # fmt: skip
        alone, whole = measure(spec, root, arguments.rounds)
    print(
        f"{arguments.clips} clips of {SECONDS:g} s, {spec.frames} frames of {spec.size} x {spec.size} and "
        f"{arguments.captions} captions each, fp32, {torch.get_num_threads()} threads; "
        f"medians of {arguments.rounds}, interleaved"
    )
    report(alone, whole, arguments.clips * arguments.frames)


def measure(spec: PreprocessSpec, root: Path, rounds: int) -> tuple[list[float], list[dict[str, float]]]:
    """Seconds of the VAE alone, and of each part of preprocessing, in turns."""
    bucket = Bucket(spec.frames, spec.size or 256, spec.size or 256)
    clips = [(clip, bucket) for clip in read_annotations(Dataset(root / "data"), "train")]
    with decode_ahead(clips, largest=bucket, ahead=4) as ready:
        frames = torch.cat([result.frames for _, result in ready if isinstance(result, ReadyClip)])
    vae = load_vae(spec.vae)
    encode(vae, frames, spec)  # the first pass sets kernels up
    alone, whole = [], []
    for number in range(rounds):
        turns = [lambda: alone.append(encode(vae, frames, spec)), lambda: whole.append(preprocessed(spec, root))]
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn()
        print(f"round {number + 1}: {alone[-1]:.2f} s, {sum(whole[-1].values()):.2f} s", file=sys.stderr, flush=True)
    return alone, whole


def encode(vae: VideoAutoencoder, frames: torch.Tensor, spec: PreprocessSpec) -> float:
    """Seconds for all frames, in the batches of preprocessing."""
    began = time.perf_counter()
    for batch in torch.split(frames, spec.batch_frames):
        vae.encode(batch)
    return time.perf_counter() - began


def preprocessed(spec: PreprocessSpec, root: Path) -> dict[str, float]:
    """Seconds of latents and of text, in a run from nothing."""
    for folder in ("latents", "text_embeddings"):
        shutil.rmtree(root / "data" / folder, ignore_errors=True)
    directory = create_job_directory(Workspace(root), "preprocess")
    job = Job(directory, Workspace(root), EventWriter(directory / "events.jsonl"))
    preprocess(spec, job)
    ended = time.time()
    began = {e.name: e.t for e in read_events(directory / "events.jsonl") if isinstance(e, StageEvent)}
    return {"latents": began["text train"] - began["latents train"], "text": ended - began["text train"]}


def report(alone: list[float], whole: list[dict[str, float]], frames: int) -> None:
    """The table, and whether the bar is met."""
    latents, text = (statistics.median(one[name] for one in whole) for name in ("latents", "text"))
    vae, both = statistics.median(alone), statistics.median(sum(one.values()) for one in whole)
    ratios = [sum(one.values()) / seconds for one, seconds in zip(whole, alone, strict=True)]
    print(f"VAE alone, frames in memory  {vae:8.2f} s  {frames / vae:6.3f} frames/s")
    print(f"preprocess, latents          {latents:8.2f} s  {frames / latents:6.3f} frames/s  {latents / vae:.3f} x")
    print(f"preprocess, text             {text:8.2f} s")
    print(f"preprocess as a whole        {both:8.2f} s  {frames / both:6.3f} frames/s")
    ratio = statistics.median(ratios)
    print(f"whole / VAE alone, median of the rounds' ratios: {ratio:.3f}   ({min(ratios):.3f} … {max(ratios):.3f})")
    print(f"bar: at most {BAR:.2f}: {'met' if ratio <= BAR else 'missed'}")


if __name__ == "__main__":
    main()
