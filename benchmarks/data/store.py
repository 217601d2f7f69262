"""Shuffled samples from the latent store against one `torch.load` file a clip, warm and cold; and a store of 100,000
clips beside one of 1,000: time to open, memory, samples a second.

python benchmarks/data/store.py [--rounds 5] [--folder DIR] [--skip-large]        1.3 GB of disk
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from made_stores import CAPTIONS, make_files, make_store
from torch import Tensor

from t2v_core.data.store.latents import LatentStore

CLIPS, BATCH = 2000, 16
# What one process of the large comparison prints.
PROBE = Path(__file__).with_name("store_probe.py")
Sampler = Callable[[Sequence[int], random.Random], tuple[Tensor, list[Tensor]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the files (default: a temporary folder)")
    parser.add_argument("--skip-large", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        compare(Path(place), arguments.rounds)
        if not arguments.skip_large:
            compare_sizes(Path(place), arguments.rounds)


def compare(folder: Path, rounds: int) -> None:
    """Samples a second: latents of 16 × 4 × 32 × 32 fp16 and one of a clip's four captions, both as float32."""
    latents, text = make_store(folder / "store", clips=CLIPS, shape=(16, 4, 32, 32), dim=512)
    make_files(folder / "files", clips=CLIPS, shape=(16, 4, 32, 32), dim=512)
    store = LatentStore(latents, text)
    samplers = {"t2v": of_store(store), "one .pt a clip": of_files(folder / "files")}
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    how = "drop_caches" if os.geteuid() == 0 else "posix_fadvise"
    for number in range(rounds + 1):
        for name, sample in samplers.items():
            forget(folder)
            cold = rate(sample, CLIPS, number)
            warm = rate(sample, CLIPS, number)
            if number:  # the first round fills what is filled once
                rates[name, "warm"].append(warm)
                rates[name, f"cold ({how})"].append(cold)
    for state in ("warm", f"cold ({how})"):
        ours, theirs = (statistics.median(rates[name, state]) for name in samplers)
        print(f"{state:20} t2v {ours:8.0f}/s   one .pt a clip {theirs:8.0f}/s   {ours / theirs:6.2f}×", flush=True)


def of_store(store: LatentStore) -> Sampler:
    def sample(rows: Sequence[int], dice: random.Random) -> tuple[Tensor, list[Tensor]]:
        return store.latents(rows), [store.caption(row, dice.randrange(CAPTIONS)).tokens for row in rows]

    return sample


def of_files(folder: Path) -> Sampler:
    """As the previous system read: one `torch.load` a clip."""

    def sample(rows: Sequence[int], dice: random.Random) -> tuple[Tensor, list[Tensor]]:
        clips = [torch.load(folder / f"video{row}.pt", weights_only=True) for row in rows]
        latents = torch.stack([clip["latents"] for clip in clips]).float()
        return latents, [clip["captions"][dice.randrange(CAPTIONS)].float() for clip in clips]

    return sample


def rate(sample: Sampler, clips: int, seed: int) -> float:
    """Every clip once, in random order, in batches."""
    dice = random.Random(seed)
    order = dice.sample(range(clips), clips)
    began = time.perf_counter()
    for begin in range(0, clips, BATCH):
        sample(order[begin : begin + BATCH], dice)
    return clips / (time.perf_counter() - began)


def forget(folder: Path) -> None:
    """Drop what the system holds in memory of the files: all of it as root, else their pages."""
    if os.geteuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        return
    for path in folder.rglob("*.*"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def compare_sizes(folder: Path, rounds: int) -> None:
    """Latents of 4 × 4 × 8 × 8 and 20 captions of 16 dimensions, so that 100,000 clips fit any disk."""
    for clips in (1000, 100_000):
        latents, text = make_store(folder / str(clips), clips=clips, shape=(4, 4, 8, 8), dim=16, captions=20)
        asked = [sys.executable, str(PROBE), str(latents), str(text)]
        runs = [
            json.loads(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout) for _ in range(rounds)
        ]  # fmt: skip
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(
            f"{clips:7} clips: opened in {middle['open_s']:.2f} s, {middle['held_mb']:.0f} MB held "
            f"({middle['peak_mb']:.0f} MB while opening), {middle['rate']:.0f} samples/s, "
            f"{middle['rate_few_files']:.0f} with a limit of 256 open files",
            flush=True,
        )


if __name__ == "__main__":
    main()
