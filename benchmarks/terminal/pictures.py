"""A video that plays in the terminal, for each kind of it.

python benchmarks/terminal/pictures.py [KIND …] [--seconds 10]

A pseudo-terminal of 120 × 40 answers as kitty, Ghostty, xterm with sixel, iTerm2, or as one that shows no pictures. The
video has 16 noisy frames of 128×128, 12 a second. What is measured begins after each frame was shown once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
from support.screen.pixel_terminal import NAMES, PixelTerminal, pixel_terminal

from t2v_core.data.video.frames import write_video

FRAMES, SIDE, FPS = 16, 128, 12.0
KINDS = [kind for kind in NAMES if kind != "wezterm"]
PLAYED_ONCE_S = 4 * FRAMES / FPS
# With which a picture begins, in each of the ways.
SIGNS = ("\U0010eeee".encode(), b"\x1bP0;1;0q", b"1337;File=", "▀".encode())
TICKS = os.sysconf("SC_CLK_TCK")


def noisy_video(path: Path) -> None:
    """Coarse squares of any colour with fine noise over them: hard to compress, and no two frames alike."""
    random = np.random.default_rng(1)
    coarse = random.normal(128, 40, (FRAMES, 16, 16, 3)).repeat(SIDE // 16, 1).repeat(SIDE // 16, 2)
    pixels = np.clip(coarse + random.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)
    write_video(path, pixels, fps=FPS, crf=10)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(one: PixelTerminal, seconds: float) -> tuple[float, float]:
    """Share of a core, and kB/s, while it plays."""
    one.wait_until(lambda: any(sign in one.received for sign in SIGNS))
    one.type(b"p")
    time.sleep(PLAYED_ONCE_S)
    cpu, size, began = cpu_s(one.process.pid), len(one.received), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return (cpu_s(one.process.pid) - cpu) / took, (len(one.received) - size) / took / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "noisy.mp4"
        noisy_video(video)
        argv = [sys.executable, "-m", "support.screen.one_video", "auto", str(video)]
        for kind in asked.kinds:
            with pixel_terminal(kind, argv, size=(120, 40), env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}) as one:
                share, rate = measure(one, asked.seconds)
            print(f"{kind:<8} {share:6.1%} of a core {rate:8.1f} kB/s", flush=True)


if __name__ == "__main__":
    main()
