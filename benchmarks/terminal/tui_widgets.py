"""The terminal UI's own widgets on a real pseudo-terminal of 120×40: a log under a flood, a curve, a player.

python benchmarks/terminal/tui_widgets.py [log|open|curve|player] [--seconds 10]

log:    10,000 and 100,000 lines a second of 100 characters: does it keep up, key to paint, the longest stall of its
        loop, CPU; and memory with a log of a million lines against an empty one
open:   a log of 2 GB: until its last line is on the terminal, against a log of one line
curve:  one redraw of 100,000 points
player: 64 and 128 pixels from cache: frames a second that reach the terminal, CPU, bytes a frame
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import math
import os
import pty
import random
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# In this folder `remote` is another benchmark.
sys.path[0] = str(Path(__file__).parents[2])

from textual.app import App, ComposeResult
from textual.events import Key
from textual.widgets import Static

from t2v_tui.widgets.curve.curve import Curve
from t2v_tui.widgets.curve.track import Run
from t2v_tui.widgets.log.view import LogView
from t2v_tui.widgets.video.film import Film
from t2v_tui.widgets.video.half_blocks import quantise
from t2v_tui.widgets.video.player import Player

SIZE = (120, 40)
LINE = b"12:41:07 step %9d loss 0.0831 lr 1.0e-4 grad_norm 0.42 1.31 it/s data wait 0.004 s memory 61.2 GB....\n"
TICK_S = 0.01
POINTS = 100_000


def sign(number: int) -> str:
    """A character for each key that was pressed, which no log holds."""
    return chr(0x4E00 + number)


# The child: an app on the terminal


class Measured(App[None]):
    """Counts keys on the screen, and notes by how much its loop was ever late."""

    def __init__(self, report: Path) -> None:
        super().__init__()
        self.report, self.keys, self.stall_s = report, 0, 0.0
        self.counter = Static("key 0")

    def on_mount(self) -> None:
        self.run_worker(self._watch())

    async def _watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_S)
            self.stall_s = max(self.stall_s, time.monotonic() - before - TICK_S)

    def on_key(self, event: Key) -> None:
        if event.key == "x":
            self.keys += 1
            self.counter.update(f"key {sign(self.keys)}")
        elif event.key == "z":
            self.stall_s = 0.0
        elif event.key == "q":
            self.report.write_text(json.dumps({"stall_s": self.stall_s, **self.said()}))
            self.exit()

    def said(self) -> dict[str, Any]:
        return {}


class LogApp(Measured):
    def __init__(self, report: Path, log: Path) -> None:
        super().__init__(report)
        self.view = LogView(log)

    def compose(self) -> ComposeResult:
        self.counter.styles.height = 1
        yield self.counter
        yield self.view

    def said(self) -> dict[str, Any]:
        return {"lines": self.view.lines.rows}


class PlayerApp(Measured):
    def __init__(self, report: Path, pixels: int) -> None:
        super().__init__(report)
        self.pixels, self.turns = pixels, 0
        self.player = Player(is_remote=False)

    def compose(self) -> ComposeResult:
        yield self.player

    def on_mount(self) -> None:
        self.call_after_refresh(self._play)

    def _play(self) -> None:
        turn = self.player.picture.turn_to

        def counted(frame: int) -> None:
            self.turns += frame != self.player.picture.frame
            turn(frame)

        self.player.picture.turn_to = counted
        self.player.is_playing = True
        self.player.show_film(moving_film(self.pixels))

    def said(self) -> dict[str, Any]:
        return {"turns": self.turns}


def moving_film(pixels: int, frames: int = 24) -> Film:
    """A smooth picture that moves, as videos do; noise would be four times the bytes."""
    made = []
    for number in range(frames):
        row = [
            int(127 + 127 * math.sin((x + 3 * number) / 9 + y / 13 + channel))
            for y in range(pixels)
            for x in range(pixels)
            for channel in range(3)
        ]
        made.append(quantise(bytes(row)))
    return Film(pixels, pixels, 24.0, (pixels, pixels), made)


# The parent: a terminal that is written to and read from


class Screen:
    """A child on a pseudo-terminal."""

    def __init__(self, *arguments: str, size: tuple[int, int] = SIZE) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "SSH_TTY")}
        env = kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "TEXTUAL_ANIMATIONS": "none"}
        argv = [sys.executable, __file__, "--child", *arguments]
        self.child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
        os.close(slave)
        self.bytes, self.tail, self.came = 0, b"", threading.Condition()
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            with self.came:
                self.bytes += len(data)
                self.tail = (self.tail + data)[-200_000:]
                self.came.notify_all()

    def wait_for(self, text: bytes, timeout_s: float = 30.0) -> float:
        """Seconds until it came."""
        began = time.monotonic()
        with self.came:
            if not self.came.wait_for(lambda: text in self.tail, timeout_s):
                raise TimeoutError(f"{text!r} never came")
        return time.monotonic() - began

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def key_to_paint_s(self, number: int) -> float:
        """From a key to its sign on the terminal."""
        self.type("x")
        return self.wait_for(sign(number).encode())

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def end(self) -> None:
        self.type("q")
        self.child.wait(30)


@contextmanager
def screen(*arguments: str, size: tuple[int, int] = SIZE) -> Iterator[Screen]:
    shown = Screen(*arguments, size=size)
    try:
        yield shown
    finally:
        if shown.child.poll() is None:
            shown.child.kill()
        shown.child.wait()


class Flood(threading.Thread):
    """Writes lines at a rate, a hundred times a second."""

    def __init__(self, path: Path, lines_per_s: int) -> None:
        super().__init__(daemon=True)
        self.path, self.lines_per_s, self.lines = path, lines_per_s, 0
        self.over = threading.Event()

    def run(self) -> None:
        began = time.monotonic()
        with self.path.open("ab", buffering=0) as file:
            while not self.over.wait(TICK_S):
                wanted = int((time.monotonic() - began) * self.lines_per_s)
                block = b"".join(LINE % number for number in range(self.lines, wanted))
                file.write(block)
                self.lines = wanted


def measure_flood(folder: Path, lines_per_s: int, seconds: float) -> None:
    log, report = folder / f"log-{lines_per_s}", folder / f"report-{lines_per_s}"
    log.touch()
    with screen("log", str(log), str(report)) as shown:
        shown.wait_for(b"key 0")
        flood = Flood(log, lines_per_s)
        flood.start()
        time.sleep(1.0)
        shown.type("z")
        cpu, began, keys = shown.cpu_s, time.monotonic(), []
        while time.monotonic() - began < seconds:
            keys.append(shown.key_to_paint_s(len(keys) + 1))
            time.sleep(0.05 + random.random() / 10)
        cpu_share = (shown.cpu_s - cpu) / (time.monotonic() - began)
        flood.over.set()
        flood.join()
        time.sleep(0.3)
        shown.end()
    said = json.loads(report.read_text())
    p50, p95 = statistics.median(keys), statistics.quantiles(keys, n=20)[-1]
    print(
        f"log, {lines_per_s:>7,} lines/s: {said['lines']:,} of {flood.lines:,} lines shown, key to paint "
        f"p50 {1000 * p50:.0f} ms, p95 {1000 * p95:.0f} ms, longest stall {1000 * said['stall_s']:.0f} ms, "
        f"CPU {100 * cpu_share:.0f} %"
    )


def measure_memory(folder: Path, lines: int = 1_000_000) -> None:
    """An empty log and a long one that was scrolled through."""
    long = folder / "long"
    with long.open("wb") as file:
        for begin in range(0, lines, 10_000):
            file.write(b"".join(LINE % number for number in range(begin, begin + 10_000)))
    empty = folder / "empty"
    empty.write_bytes(LINE % 0)
    held = {}
    for name, log in (("empty", empty), ("long", long)):
        with screen("log", str(log), str(folder / "report")) as shown:
            shown.wait_for(b"key 0")
            opened_s = shown.wait_for(f"{lines:,}".replace(",", "\u202f").encode() if name == "long" else b"1 / 1")
            for keys in ("g", *"\x04" * 30, "G"):
                shown.type(keys)
                time.sleep(0.02)
            time.sleep(1.0)
            held[name] = shown.rss_mb
            shown.end()
    size = long.stat().st_size / 1e6
    print(
        f"log of {lines:,} lines, {size:.0f} MB: {held['long']:.1f} MB of memory, "
        f"{held['long'] - held['empty']:+.1f} MB against an empty one; counted {opened_s:.2f} s after the first paint"
    )


def measure_open(folder: Path, size: int = 2_000_000_000) -> None:
    """Its last line is another than all the others, so that it can be waited for."""
    end, block = b"the last line\n", LINE % 0 * 100_000
    short, long = folder / "short", folder / "2-gb"
    short.write_bytes(end)
    with long.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
        file.write(end)
    took: dict[str, list[tuple[float, float]]] = {short.name: [], long.name: []}
    for _ in range(5):
        for log in (short, long):
            began = time.monotonic()
            with screen("log", str(log), str(folder / "report")) as shown:
                shown.wait_for(end.strip())
                took[log.name].append((time.monotonic() - began, shown.cpu_s))
                shown.end()
    (wall, cpu), (more_wall, more_cpu) = (
        [statistics.median(one[at] for one in some) for at in (0, 1)] for some in took.values()
    )
    print(
        f"log of {long.stat().st_size / 1e9:.1f} GB: its end is shown {more_wall - wall:+.2f} s, {more_cpu - cpu:+.2f} "
        f"CPU s against a log of one line, whose app is up after {wall:.2f} s, {cpu:.2f} CPU s   (medians of 5)"
    )


def measure_curve() -> None:
    chance = random.Random(0)
    steps = range(1, POINTS + 1)
    losses = [0.08 + 0.6 * math.exp(-step / 8000) + abs(chance.gauss(0, 0.02)) for step in steps]
    run = Run(
        "run", steps, losses, [(step, losses[step]) for step in range(1000, POINTS, 1000)], range(5000, POINTS, 5000)
    )

    class CurveApp(App[None]):
        def compose(self) -> ComposeResult:
            yield Curve()

    async def redraws() -> list[float]:
        app = CurveApp()
        took = []
        async with app.run_test(size=(118, 24)):
            curve = app.query_one(Curve)
            began = time.perf_counter()
            curve.show([run])
            print(f"curve: {POINTS:,} points taken in, once, in {1000 * (time.perf_counter() - began):.0f} ms")
            for _ in range(30):
                began = time.perf_counter()
                curve._draw()
                took.append(time.perf_counter() - began)
        return took

    took = asyncio.run(redraws())
    print(f"curve of {POINTS:,} points, 118×24: median {1000 * statistics.median(took):.1f} ms a redraw")


def measure_player(folder: Path, pixels: int, seconds: float) -> None:
    report = folder / f"player-{pixels}"
    with screen("player", str(pixels), str(report), size=(max(120, pixels + 2), pixels // 2 + 2)) as shown:
        shown.wait_for("▀".encode())
        time.sleep(3.0)  # every frame was drawn once
        cpu, came, began = shown.cpu_s, shown.bytes, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        cpu_share, sent = (shown.cpu_s - cpu) / took, (shown.bytes - came) / took
        total = time.monotonic()
        shown.end()
    turns = json.loads(report.read_text())["turns"]
    fps = turns / (total - began + 3.0)
    print(
        f"player, {pixels:>3} px: {fps:.1f} fps from cache, CPU {100 * cpu_share:.0f} %, {sent / 1e6:.2f} MB/s, "
        f"{sent / fps / 1e3:.0f} kB a frame"
    )


def child(arguments: list[str]) -> None:
    what, value, report = arguments
    app: Measured = LogApp(Path(report), Path(value)) if what == "log" else PlayerApp(Path(report), int(value))
    app.run()


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["log", "open", "curve", "player"])
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.what in (None, "log"):
            for rate in (10_000, 100_000):
                measure_flood(folder, rate, arguments.seconds)
            measure_memory(folder)
        if arguments.what in (None, "open"):
            measure_open(folder)
        if arguments.what in (None, "curve"):
            measure_curve()
        if arguments.what in (None, "player"):
            for pixels in (64, 128):
                measure_player(folder, pixels, arguments.seconds)
    print(f"peak memory of the measuring process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
