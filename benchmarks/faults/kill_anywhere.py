"""A hundred faults of each kind, at random moments: can every job be taken up, and what is lost?

    python benchmarks/faults/kill_anywhere.py [--count 100] [--seed N] [--only train,preprocess,disk,bytes,clock]

It trains and preprocesses the tests' small data set in child processes of the engine, in a temporary folder. Whatever
is lost beyond the steps since the last save ends it with the assertion that noticed; at the end each cut run is
compared with one that was not. The full disk takes root, for a tmpfs.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:1] = [str(Path(__file__).parents[2] / name) for name in (".", "tests", "setup")]

from support.hosts.faults import fill_disks, flip_bytes, jump_clocks, kill_preprocessing, kill_training

Fault = Callable[[Path, random.Random, int, Callable[[int], None]], int]
FAULTS: dict[str, tuple[Fault, str]] = {
    "train": (kill_training, "kill -9 of a training; it reached step"),
    "preprocess": (kill_preprocessing, "kill -9 of preprocessing; times it got to its end"),
    "disk": (fill_disks, "disk full under a training; it reached step"),
    "bytes": (flip_bytes, "bit flipped in the newest checkpoint; times the one before it was taken"),
    "clock": (jump_clocks, "clock of a training set by up to 25 years; it reached step"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--only", default=",".join(FAULTS))
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.count} of each", flush=True)
    for name in asked.only.split(","):
        fault, words = FAULTS[name]
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            figure = fault(Path(folder), random.Random(f"{asked.seed} {name}"), asked.count, _tell)
            took = time.monotonic() - began
        print(f"\r{asked.count} of {asked.count} taken up: {words} {figure} ({took:.0f} s)", flush=True)


def _tell(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
