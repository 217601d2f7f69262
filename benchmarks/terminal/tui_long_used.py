"""The terminal UI over a workspace that was used for long, on a real pseudo-terminal of 120×40.

python benchmarks/terminal/tui_long_used.py [screens|visits|ended|revisit] [--seconds 20] [--rounds 5] [--only jobs,log]

screens: 2,000 videos, 300 checkpoints, 500 jobs, 10,000 clips, a training of 100,000 steps that has ended, and its log
         of 1 M lines: on each screen what idleness costs (the app, of that its main thread, its children, bytes to the
         terminal), and what a key costs, on the clock and of the CPU, until it is painted
visits:  the same workspace, an app that was just started: what the first visit of each screen costs
ended:   a training of 100,000 steps that has ended is shown, and nothing else is there: what idleness costs
revisit: from a digit to a list that was seen before
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from tui import TICK_S, Child, Painted, on_terminal, painted, print_painted, tui

STEPS, LOG_LINES = 100_000, 1_000_000
VIDEOS, CHECKPOINTS, JOBS, CLIPS, SET_ASIDE = 2_000, 300, 500, 10_000, 500
# It has settled when it takes less than this of a core for two seconds, and no bytes come; at the latest after so long.
SETTLED, PATIENCE_S = 0.05, 60.0
TYPED = ("generate", "vid2vid")  # a letter is typed there
MOVES, LETTERS = ("j", "k", "j", "\x1b[6~", "\x1b[5~", "k"), ("a", "b", "\x7f")
# On the screen of data the lists are those of what was set aside: tab goes there.
MORE = {
    "data": ("\t", "j", "k", "\x1b[6~"),
    "log": ("V", "k", "k", "\x1b", "G"),
    "compare": ("m", "e", "s", ",", "+", "-", "x"),
    "train": (" ", "z", "z"),
}


def fill(folder: Path) -> None:
    """Videos with their .json, checkpoints, jobs that have ended, a data set, a training with a curve and a log."""
    from support.engine.ended_jobs import add_ended, of_training  # of the tests
    from support.engine.results_world import add_checkpoint, add_video  # with numpy

    first = add_video(folder, "video-0000.mp4", "a red square moving right")
    said = first.with_suffix(".json").read_text()
    for number in range(1, VIDEOS):
        path = folder / "outputs" / f"video-{number:04}.mp4"
        os.link(first, path)
        path.with_suffix(".json").write_text(said)
    for number in range(1, CHECKPOINTS + 1):
        add_checkpoint(folder, number, loss=1 / number, size=100)
    add_data_set(folder / "data" / "msr-vtt", first)
    for number in range(JOBS):
        began_t, done = time.time() - 100_000 + 100 * number, {"kind": "done", "seconds": 60.0}
        add_ended(folder, "generate", began_t, [done], prompt=f"prompt {number}", seed=number)
    samples = [
        {"kind": "sample", "video": f"outputs/video-{number:04}.mp4", "prompt": "a red square", "step": number * 500}
        for number in range(1, 20)
    ]
    job = add_ended(folder, "train", time.time() - 7200, [*samples, *of_training(STEPS)], preset="tiny")
    with (folder / "jobs" / job / "log").open("w") as log:
        log.writelines(f"step {number} of {LOG_LINES}: a loss of {1 / number:.6f}\n" for number in range(1, LOG_LINES))


def add_data_set(data: Path, clip: Path) -> None:
    """Clips, captions, latents and what was set aside, as MSR-VTT has them."""
    for part in ("videos", "annotations", "latents/train"):
        (data / part).mkdir(parents=True)
    for number in range(CLIPS):
        os.link(clip, data / "videos" / f"video{number}.mp4")
    (data / "annotations" / "train_9k.json").write_text("[]")
    clips = {f"video{number}": {"shard": 0, "row": number, "frames": 8} for number in range(CLIPS)}
    (data / "latents/train/manifest.json").write_text(json.dumps({"clips": clips, "files": {}}))
    (data / "latents/train/shard-00000.safetensors").write_bytes(bytes(100))
    aside = (f"video{number},truncated,its index is missing" for number in range(SET_ASIDE))
    (data / "quarantine.csv").write_text("\n".join(["id,reason,detail", *aside, ""]))


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


def settle(child: Child) -> None:
    """Until it has read what there is to read."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        before = child.cpu_s
        written = child.drain(2.0)
        if child.cpu_s - before < 2 * SETTLED and written < 2000:
            return


def print_idle(what: str, child: Child, seconds: float) -> None:
    own, main, with_children = child.cpu_s, child.main_thread_s, cpu_of_all_s(child.pid)
    written = child.drain(seconds)
    own, main, with_children = child.cpu_s - own, child.main_thread_s - main, cpu_of_all_s(child.pid) - with_children
    print(
        f"idle, {what:<28} {own / seconds:6.2%} of a core (main thread {main / seconds:.2%}), its children "
        f"{(with_children - own) / seconds:.2%}, {written / seconds / 1000:.2f} kB/s; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def print_ended(folder: Path, seconds: float) -> None:
    from support.engine.ended_jobs import add_ended, of_training  # of the tests

    add_ended(folder, "train", time.time() - 7200, of_training(STEPS))
    with on_terminal(*tui(folder)) as child:
        settle(child)
        print_idle(f"{STEPS:,} steps that ended", child, seconds)


def print_screens(folder: Path, seconds: float, rounds: int, only: Collection[str]) -> None:
    from t2v_tui.registry import SCREENS

    fill(folder)
    with on_terminal(*tui(folder), env={"TEXTUAL_ANIMATIONS": "none"}) as child:
        child.drain(5.0)
        for entry in SCREENS:
            if only and entry.name not in only:
                continue
            child.press(entry.key or "0")
            child.drain(1.0)
            if entry.name == "log":
                child.press("E")  # what the engine wrote: the longer one
            settle(child)
            print_idle(entry.name, child, seconds)
            if rounds:
                keys = LETTERS if entry.name in TYPED else (*MOVES, *MORE.get(entry.name, ()))
                print_painted(f"keys, {entry.name}", keys_of(child, keys, rounds))
            if entry.name in TYPED:
                child.press("\x1b")  # out of the entry, so that the next digit is a key
                child.drain(0.5)


def keys_of(child: Child, keys: Collection[str], rounds: int) -> dict[str, list[Painted]]:
    took: dict[str, list[Painted]] = {}
    for _ in range(rounds):
        for key in keys:
            if (one := painted(child, key)) is not None:
                took.setdefault(key, []).append(one)
    return took


def print_revisits(folder: Path, rounds: int) -> None:
    fill(folder)
    with on_terminal(*tui(folder)) as child:
        child.drain(5.0)
        for digit, what in (("2", "checkpoints"), ("3", "videos"), ("7", "jobs")):
            child.press(digit)
            settle(child)
            took = []
            for _ in range(rounds):
                child.press("0")  # the first page
                child.drain(6.0)
                took.append(painted_s(child, digit))
            print(
                f"revisit, {what:<25} {1000 * statistics.median(took):.0f} ms to its last byte   (median of {rounds})"
            )


def print_visits(folder: Path, rounds: int, only: Collection[str]) -> None:
    from t2v_tui.registry import SCREENS

    fill(folder)
    took: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        with on_terminal(*tui(folder), env={"TEXTUAL_ANIMATIONS": "none"}) as child:
            settle(child)
            for entry in SCREENS:
                if (only and entry.name not in only) or entry.name == "train":  # it was the first
                    continue
                main, own = child.main_thread_s, child.fine_cpu_s
                painted_s(child, entry.key or "0")
                took.setdefault(entry.name, []).append((child.main_thread_s - main, child.fine_cpu_s - own))
                child.press("\x1b" if entry.name in TYPED else "")  # out of the entry, so that the next digit is a key
                settle(child)
    for name, both in took.items():
        main, own = (statistics.median(one[at] for one in both) for at in (0, 1))
        print(f"first visit, {name:<12} {own:.2f} CPU s until it is painted, of that its main thread {main:.2f}")


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
    parser.add_argument("what", nargs="?", choices=["screens", "visits", "ended", "revisit"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="screens, by name, with commas between")
    asked = parser.parse_args()
    only = set(filter(None, asked.only.split(",")))
    for what, measure in (
        ("screens", lambda folder: print_screens(folder, asked.seconds, asked.rounds, only)),
        ("visits", lambda folder: print_visits(folder, asked.rounds, only)),
        ("ended", lambda folder: print_ended(folder, asked.seconds)),
        ("revisit", lambda folder: print_revisits(folder, asked.rounds)),
    ):  # fmt: skip
        if asked.what in (None, what):
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder))


if __name__ == "__main__":
    main()
