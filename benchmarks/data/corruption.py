"""120 damaged videos: who raises, who gives clean frames, and who hands out garbage without a word. And 28 good ones:
who raises false alarm.

python benchmarks/data/corruption.py [--files 120] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
from clips import make_clip
from readers import Frames, Reader, installed_readers

READERS = ("t2v", "PyAV decode all", "torchcodec exact")
GOOD = 28
HOLE_BYTES = 5000
# A clip is garbage when a frame's mean squared error from the good file's is above this.
GARBAGE_MSE = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    readers = {name: reader for name, reader in installed_readers().items() if name in READERS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        good = make_clip(folder / "good.mp4", seconds=10, fps=Fraction(25), gop=12, b_frames=3, seed=arguments.seed)
        verdicts = {name: Counter[str]() for name in readers}
        clean = {name: reader(good) for name, reader in readers.items()}
        for number in range(arguments.files):
            path = folder / "damaged.mp4"
            path.write_bytes(damaged(good.read_bytes(), seed=arguments.seed * 1000 + number))
            for name, reader in readers.items():
                verdicts[name][verdict(reader, path, clean[name])] += 1
        alarms = count_false_alarms(readers, folder)
    first = arguments.seed * 1000
    print(f"{arguments.files} damaged files, seeds {first} … {first + arguments.files - 1}; {GOOD} good ones")
    columns = ("raised", "clean", "small differences", "garbage")
    print(f"{'':18}" + "".join(f"{column:>19}" for column in columns) + f"{'false alarms':>14}")
    for name, counts in verdicts.items():
        print(f"{name:18}" + "".join(f"{counts[column]:19}" for column in columns) + f"{alarms[name]:14}")


def damaged(data: bytes, *, seed: int) -> bytes:
    """Odd seeds: 1 to 200 bytes get other values; even ones: 5,000 bytes become zeros. Anywhere in the file."""
    dice = random.Random(seed)
    broken = bytearray(data)
    if seed % 2:
        for _ in range(dice.randint(1, 200)):
            broken[dice.randrange(len(broken))] ^= dice.randint(1, 255)
    else:
        begin = dice.randrange(len(broken) - HOLE_BYTES)
        broken[begin : begin + HOLE_BYTES] = bytes(HOLE_BYTES)
    return bytes(broken)


def verdict(reader: Reader, path: Path, clean: Frames) -> str:
    try:
        frames = reader(path)
    except Exception:  # noqa: BLE001 - whatever is raised, the reader did not pass garbage on
        return "raised"
    if np.array_equal(frames, clean):
        return "clean"
    if frames.shape != clean.shape:
        return "garbage"
    errors = np.square(frames.astype(np.float32) - clean).mean(axis=(1, 2, 3))
    return "garbage" if errors.max() > GARBAGE_MSE else "small differences"


def count_false_alarms(readers: dict[str, Reader], folder: Path) -> dict[str, int]:
    """How many good files each reader refuses."""
    alarms = dict.fromkeys(readers, 0)
    for number in range(GOOD):
        path = folder / f"good-{number}.mp4"
        fps = Fraction((25, 30)[number % 2])
        make_clip(path, seconds=2, fps=fps, gop=(12, 250)[number // 2 % 2], b_frames=number % 4, seed=number)
        for name, reader in readers.items():
            try:
                reader(path)
            except Exception as error:  # noqa: BLE001 - that it raises is what is counted
                print(f"{name} refuses {path.name}: {error}")
                alarms[name] += 1
    return alarms


if __name__ == "__main__":
    main()
