"""The terminal UI over a workspace that was used for long, on a real pseudo-terminal of 120×40.

python benchmarks/tui_long_used.py [ended|lists] [--seconds 20] [--rounds 5]

ended: a training of 100,000 steps that has ended is shown: CPU of the app and of its children, bytes to the terminal
lists: 2,000 videos, 300 checkpoints, 500 jobs: idle on each list, and from a digit to a list that was seen before
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from tui import TICK_S, Child, on_terminal, tui

STEPS = 100_000
VIDEOS, CHECKPOINTS, JOBS = 2_000, 300, 500
SETTLING_S = 20.0


def fill(folder: Path) -> None:
    """Videos with their .json, checkpoints, jobs that have ended."""
    from support.engine.ended_jobs import add_ended  # of the tests
    from support.engine.results_world import add_checkpoint, add_video  # with numpy

    first = add_video(folder, "video-0000.mp4", "a red square moving right")
    said = first.with_suffix(".json").read_text()
    for number in range(1, VIDEOS):
        path = folder / "outputs" / f"video-{number:04}.mp4"
        os.link(first, path)
        path.with_suffix(".json").write_text(said)
    for number in range(1, CHECKPOINTS + 1):
        add_checkpoint(folder, number, loss=1 / number, size=100)
    for number in range(JOBS):
        began_t, done = time.time() - 100_000 + 100 * number, {"kind": "done", "seconds": 60.0}
        add_ended(folder, "generate", began_t, [done], prompt=f"prompt {number}", seed=number)


def cpu_of_all_s(pid: int) -> float:
    """Of a process and its children, down to the last."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        threads = Path(f"/proc/{pid}/task").iterdir()
        children += [
            one for task in threads if task.name != str(pid) for one in (task / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return 0.0
    return (int(words[11]) + int(words[12])) * TICK_S + sum(cpu_of_all_s(int(child)) for child in children)


def print_idle(what: str, child: Child, seconds: float) -> None:
    own, with_children = child.cpu_s, cpu_of_all_s(child.pid)
    written = child.drain(seconds)
    own, with_children = child.cpu_s - own, cpu_of_all_s(child.pid) - with_children
    print(
        f"idle, {what:<28} {own / seconds:6.2%} of a core, {(with_children - own) / seconds:6.2%} its children, "
        f"{written / seconds / 1000:.2f} kB/s to the terminal"
    )


def print_ended(folder: Path, seconds: float) -> None:
    from support.engine.ended_jobs import add_ended, of_training  # of the tests

    add_ended(folder, "train", time.time() - 7200, of_training(STEPS))
    with on_terminal(*tui(folder)) as child:
        child.drain(SETTLING_S)
        print_idle(f"{STEPS:,} steps that ended", child, seconds)


def print_lists(folder: Path, seconds: float, rounds: int) -> None:
    fill(folder)
    with on_terminal(*tui(folder)) as child:
        child.drain(5.0)
        for digit, what in (("2", "checkpoints"), ("3", "videos"), ("7", "jobs")):
            child.press(digit)
            child.drain(SETTLING_S)
            print_idle(what, child, seconds)
        for digit, what in (("2", "checkpoints"), ("3", "videos"), ("7", "jobs")):
            took = []
            for _ in range(rounds):
                child.press("0")  # the first page
                child.drain(6.0)
                took.append(painted_s(child, digit))
            print(
                f"revisit, {what:<25} {1000 * statistics.median(took):.0f} ms to its last byte   (median of {rounds})"
            )


def painted_s(child: Child, key: str) -> float:
    """From a key to the last byte of what it paints: then nothing comes for 0.3 s."""
    began, last = time.monotonic(), 0.0
    child.press(key)
    while time.monotonic() - began < 5.0:
        if child.drain(0.005):
            last = time.monotonic() - began
        elif last and time.monotonic() - began - last > 0.3:
            break
    return last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["ended", "lists"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for what, measure in (
        ("ended", lambda folder: print_ended(folder, asked.seconds)),
        ("lists", lambda folder: print_lists(folder, asked.seconds, asked.rounds)),
    ):  # fmt: skip
        if asked.what in (None, what):
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder))


if __name__ == "__main__":
    main()
