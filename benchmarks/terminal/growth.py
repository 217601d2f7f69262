"""Ten times as much of everything: what a first look and every further one cost of the CPU, and how that grows.

    python benchmarks/terminal/growth.py [--only jobs,checkpoints,videos,clips] [--most 10000]

A further look is what a screen of `t2v-tui` does every few seconds, in a thread: 100 ms is the bar. A first look is
what a command does, and a screen once. Milliseconds of CPU time, the system's included; the `order` is the exponent of
the growth from the size before (1 is linear).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

sys.path[:1] = [str(Path(__file__).parents[2] / name) for name in (".", "tests", "setup")]

from remote.agent.jobs.rows import rows_of_all
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import main as t2v
from t2v_tui.library.data_sets import data_sets_here
from t2v_tui.library.folders import TRUSTED_S
from t2v_tui.library.local import checkpoints_here, videos_here

Look = Callable[[], object]
CLIPS_MOST = 100_000


def jobs(root: Path, count: int) -> Iterator[tuple[str, Look]]:
    """Trainings that have ended."""
    for number in range(count):
        at = f"{number // 3600 % 24:02}{number // 60 % 60:02}{number % 60:02}"
        folder = root / f"jobs/20261122-{at}-train-{number:04x}"
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text('{"preset": "tiny"}')
        (folder / "log").write_text("trained\n")
        event = {"t": 1e9 + number, "kind": "step", "step": number, "total": count, "loss": 0.5}
        (folder / "events.jsonl").write_text(f"{json.dumps(event)}\n" * 20)
        write(folder / "state.json", {"pid": 1, "start_ticks": 1, "boot_id": "x", "started": 1e9 + number})
        write(folder / "exit.json", {"code": 0, "signal": None, "reason": "done", "hint": "", "ended": 1e9 + number})
    yield "as an agent tells them", lambda: rows_of_all(root / "jobs", lambda _: None)
    yield "t2v jobs", lambda: command("jobs", "--workspace", str(root))


def checkpoints(root: Path, count: int) -> Iterator[tuple[str, Look]]:
    for number in range(count):
        folder = root / f"checkpoints/run{number // 100}/checkpoint_epoch_{number}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(bytes(8))
        write(folder / "trainer.json", {"step": number, "epoch": number, "held_out_loss": 0.5, "spec": {}})
        files = {one.name: {"size_bytes": one.stat().st_size, "sha256": "0"} for one in folder.iterdir()}
        write(folder / "manifest.json", {"files": files})
    yield "listed", lambda: checkpoints_here(Workspace(root), trusted_s=TRUSTED_S)
    yield "t2v ls checkpoints", lambda: in_folder(root, "ls", "checkpoints")


def videos(root: Path, count: int) -> Iterator[tuple[str, Look]]:
    for number in range(count):
        folder = root / f"outputs/{number // 500}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"video{number}.mp4").write_bytes(b"x")
        write(folder / f"video{number}.json", {"prompt": f"a dog {number}", "seed": number, "steps": 20})
    yield "listed", lambda: videos_here(Workspace(root), trusted_s=TRUSTED_S)


def clips(root: Path, count: int) -> Iterator[tuple[str, Look]]:
    store = root / "data/mine/latents/train"
    store.mkdir(parents=True)
    (root / "data/mine/videos").mkdir()
    for number in range(count):
        (root / f"data/mine/videos/video{number}.mp4").touch()
    rows = [{"video_id": f"video{number}", "shard": number // 512, "row": number % 512} for number in range(count)]
    write(store / "manifest.json", {"files": {}, "clips": rows, "settings": {"frames": 16}})
    yield "data sets listed", lambda: data_sets_here(Workspace(root), trusted_s=TRUSTED_S)


KINDS = {"jobs": jobs, "checkpoints": checkpoints, "videos": videos, "clips": clips}


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def command(*words: str) -> None:
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        sys.argv = ["t2v", *words]
        assert t2v() == 0


def in_folder(root: Path, *words: str) -> None:
    before = Path.cwd()
    os.chdir(root)
    try:
        command(*words)
    finally:
        os.chdir(before)


def cpu_ms(look: Look) -> float:
    """Of this process and of its children that ended meanwhile."""
    before = spent_s()
    look()
    return (spent_s() - before) * 1000


def let_rest(root: Path) -> None:
    """As if nothing had been written for a minute."""
    then = time.time() - 60
    for path in (root, *(path for path in root.rglob("*") if path.is_dir())):
        os.utime(path, (then, then))


def spent_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def order(now: float, then: float) -> str:
    return f"{math.log10(now / max(then, 0.001)):.2f}"


def measure(kind: str, count: int, before: dict[str, tuple[float, float]]) -> None:
    """Print a line for each look at so many. before: the figures of a tenth of it; takes these in"""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t2v.toml").touch()
        for name, look in KINDS[kind](Path(folder), count):
            let_rest(Path(folder))
            first, again = cpu_ms(look), min(cpu_ms(look) for _ in range(3))
            orders = [order(now, then) for now, then in zip((first, again), before.get(name, ()), strict=False)]
            words = f"{kind + ', ' + name:36}{count:8}{first:10.1f}{orders[0] if orders else '':>7}"
            print(f"{words}{again:10.1f}{orders[1] if orders else '':>7}", flush=True)
            before[name] = (first, again)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--most", type=int, default=10_000)
    asked = parser.parse_args()
    print(f"{'':36}{'count':>8}{'first ms':>10}{'order':>7}{'again ms':>10}{'order':>7}")
    for kind in asked.only.split(","):
        before: dict[str, tuple[float, float]] = {}
        most = min(CLIPS_MOST, asked.most * 10) if kind == "clips" else asked.most
        for count in (10**power for power in range(2 if kind == "clips" else 1, 6) if 10**power <= most):
            measure(kind, count, before)


if __name__ == "__main__":
    main()
