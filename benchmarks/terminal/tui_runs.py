"""The screen of runs with twenty long trainings, on a real pseudo-terminal: a key to its paint, memory, reading.

python benchmarks/terminal/tui_runs.py [--runs 20] [--steps 1000000] [--size 120x40] [--rounds 5]

Each run has so many steps of six figures. Measured are: CPU seconds until all of them are read; from the press of a key
to the last byte of what it paints, with all runs marked, while files are read and afterwards; memory; and idleness.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
from pathlib import Path

# In this folder `remote` is another benchmark.
sys.path[0] = str(Path(__file__).parents[2])
sys.path.append(str(Path(__file__).parent))

import tui as whole

FILES = 4  # of events; runs share them, each by a link of its own
KEYS = (
    "e",
    "m",
    "M",
    "s",
    "s",
    ",",
    ",",
    ".",
    "+",
    ",",
    "-",
    "x",
    "x",
    "x",
    "x",
    " ",
    " ",
    "j",
    "k",
    "o",
    "O",
    "d",
    "b",
    "b",
    "b",
)
NEW_T = 1_795_000_000.0


def make_runs(root: Path, runs: int, steps: int) -> None:
    (root / "t2v.toml").write_text("")
    files = [root / f"events-{number}" for number in range(min(FILES, runs))]
    for number, file in enumerate(files):
        write_events(file, steps, random.Random(number), floor=0.06 + 0.02 * number)
    for number in range(runs):
        job = root / "jobs" / f"20261120-{number:02}1500-train-{number:04x}"
        job.mkdir(parents=True)
        preset = ("tiny", "base", "seed")[number % 3]
        (job / "spec.json").write_text(json.dumps({"preset": preset, "learning_rate": 1e-4 * (1 + number)}))
        (job / "state.json").write_text(json.dumps({"started": NEW_T, "pid": 1, "boot_id": "another"}))
        (job / "exit.json").write_text(json.dumps({"code": 0, "ended": NEW_T + 0.27 * steps}))
        os.link(files[number % len(files)], job / "events.jsonl")


def write_events(file: Path, steps: int, chance: random.Random, *, floor: float) -> None:
    with file.open("w") as out:
        for step in range(1, steps + 1):
            t = round(NEW_T + 0.27 * step, 3)
            loss = floor + 1.2 * math.exp(-8 * step / steps) + abs(chance.gauss(0, 0.03))
            out.write(
                f'{{"t":{t},"kind":"step","step":{step},"total":{steps},"epoch":{1 + step * 40 // steps},'
                f'"loss":{loss:.6f},"learning_rate":0.0001,"grad_norm":{abs(chance.gauss(0.4, 0.1)):.4f},'
                f'"samples_per_s":59.41,"data_wait":0.0123,"mfu":0.41}}\n'
            )
            if step % max(1, steps // 100) == 0:
                out.write(
                    f'{{"t":{t},"kind":"score","name":"held_out_loss","value":{loss + 0.02:.6f},"step":{step}}}\n'
                )


def measure_keys(child: whole.Child, rounds: int) -> dict[str, list[whole.Painted]]:
    took: dict[str, list[whole.Painted]] = {}
    for _ in range(rounds):
        for key in KEYS:
            if (painted := whole.painted(child, key)) is not None:
                took.setdefault(key, []).append(painted)
    return took


def mark_all(child: whole.Child, runs: int) -> None:
    child.press("u")
    child.press("g")
    for _ in range(runs):
        child.press(" j")
        child.drain(0.1)


def until_read(child: whole.Child) -> float:
    """CPU seconds until it has nothing more to read: it takes less than a tenth of a core for two seconds."""
    while True:
        before = child.cpu_s
        child.drain(2.0)
        if child.cpu_s - before < 0.2:
            return child.cpu_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    whole.COLUMNS, whole.ROWS = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_runs(root, arguments.runs, arguments.steps)
        size_mb = sum(file.stat().st_size for file in root.glob("jobs/*/events.jsonl")) / 1e6
        print(f"{arguments.runs} runs of {arguments.steps:,} steps, {size_mb:,.0f} MB of events, {arguments.size}")
        with whole.on_terminal(*whole.tui(root), env={"TEXTUAL_ANIMATIONS": "none"}) as child:
            child.drain(3.0)
            without_mb, cpu_before = child.rss_mb, child.cpu_s
            child.press("C")
            child.drain(1.0)
            mark_all(child, arguments.runs)
            if arguments.steps >= 100_000:
                whole.print_painted("while it reads", measure_keys(child, 1))
            read_s = until_read(child) - cpu_before
            whole.print_painted("with all of them marked", measure_keys(child, arguments.rounds))
            more_mb = child.rss_mb - without_mb
            print(f"memory {child.rss_mb:.0f} MB, {more_mb:+.0f} MB against before; reading {read_s:.0f} CPU s")
            child.drain(2.0)  # of the last key
            cpu_before = child.cpu_s
            written = child.drain(10.0)
            cpu = 10 * (child.cpu_s - cpu_before)
            print(f"idle: {cpu:.1f} % of a core, {written / 10:.0f} bytes/s; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
