"""Sixteen evenly spaced frames of a clip against OpenCV by index, imageio, decord, torchcodec and decoding all: clips a
second on one core, and whether the frames are those of a full decode.

python benchmarks/data/decode.py [--rounds 5] [--videos DIR]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import torch
from clips import make_clip
from readers import COUNT, Frames, Reader, installed_readers

from t2v_core.data.video.decode import read_all_frames

RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=Path, help="a folder of mp4 files to read instead of the made ones")
    arguments = parser.parse_args()
    pin_to_one_core()
    readers = installed_readers()
    with tempfile.TemporaryDirectory() as folder:
        groups = {"given": sorted(arguments.videos.glob("*.mp4"))} if arguments.videos else make_all(Path(folder))
        same = count_same(readers, [path for paths in groups.values() for path in paths])
        rates = measure(readers, groups, arguments.rounds)
    print_table(groups, same, rates)


def pin_to_one_core() -> None:
    """Child processes of imageio as well."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def make_all(folder: Path) -> dict[str, list[Path]]:
    """Twelve clips of 320×240: 10, 20 and 30 s, GOP 12 and 250, without and with 3 B-frames."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for number, (gop, b_frames, seconds) in enumerate(product((12, 250), (0, 3), (10, 20, 30))):
        path = folder / f"gop{gop}-b{b_frames}-{seconds}s.mp4"
        make_clip(path, seconds=seconds, fps=RATES[number % 3], gop=gop, b_frames=b_frames, seed=number)
        groups[f"GOP {gop}, {b_frames} B"].append(path)
    return groups


def count_same(readers: dict[str, Reader], paths: list[Path]) -> dict[str, str]:
    """By reader, of how many clips the frames are exactly those of a full decode."""
    verdicts: dict[str, int] = dict.fromkeys(readers, 0)
    for path in paths:
        every = read_all_frames(path)
        expected = every.frames[np.round(np.linspace(0, every.total_frames - 1, COUNT)).astype(int)]
        for name, reader in readers.items():
            verdicts[name] += is_same(reader, path, expected)
    return {name: f"{count} of {len(paths)}" for name, count in verdicts.items()}


def is_same(reader: Reader, path: Path, expected: Frames) -> bool:
    try:
        return bool(np.array_equal(reader(path), expected))
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
        print(f"{reader.__name__}, {path.name}: {type(error).__name__}: {error}")
        return False


def measure(readers: dict[str, Reader], groups: dict[str, list[Path]], rounds: int) -> dict[tuple[str, str], float]:
    """Clips a second by reader and group: the median over rounds, in which readers take turns clip by clip."""
    seconds: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * rounds)
    for round_number in range(rounds):
        for group, paths in groups.items():
            for path, (name, reader) in product(paths, readers.items()):
                began = time.perf_counter()
                reader(path)
                elapsed = time.perf_counter() - began
                seconds[name, group][round_number] += elapsed
                seconds[name, "all"][round_number] += elapsed
    count = {group: len(paths) for group, paths in groups.items()} | {"all": sum(map(len, groups.values()))}
    return {(name, group): count[group] / statistics.median(values) for (name, group), values in seconds.items()}


def print_table(groups: dict[str, list[Path]], same: dict[str, str], rates: dict[tuple[str, str], float]) -> None:
    columns = ["all", *groups]
    print(f"{'clips a second':18}" + "".join(f"{column:>13}" for column in columns) + f"{'t2v is':>9}  same frames")
    for name, verdict in same.items():
        shown = "".join(f"{rates[name, column]:13.2f}" for column in columns)
        print(f"{name:18}{shown}{rates['t2v', 'all'] / rates[name, 'all']:8.2f}×  {verdict}")


if __name__ == "__main__":
    main()
