"""A big file over a line that is long, that loses packets, or with half a processor here: ours beside scp, in turns.

python benchmarks/hosts/transfer_bars.py                 1 GiB at 50 ms, down and up: seconds, CPU of either side
python benchmarks/hosts/transfer_bars.py --cores 0.75    the same, with all of this side held to so much of a core
python benchmarks/hosts/transfer_bars.py --rtt-ms 300 --rounds 3
python benchmarks/hosts/transfer_bars.py --loss 0.01 --jitter-ms 5 --congestion cubic --mib 64 --rounds 3

The link is that of `transfer.py`; this adds who took the CPU: the client with its programs, the server with its, and
the link itself, by control groups. `raw` is plain TCP with as many connections as t2v had at most.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:1] = [str(Path(__file__).parent), str(TESTS.parent), str(TESTS), str(TESTS.with_name("setup"))]

from bench.wan import Line, raw_tcp
from cpu_group import CpuGroup, cpu_group
from transfer import GCM, MIB, Bench, bench

from t2v_core.disk.files import staged_directory

TIMEOUT_S = 3600.0
GIB = 2**30


@dataclass
class Took:
    """Of each run: seconds, and CPU seconds here, there and of the link; connections at most."""

    seconds: list[float] = field(default_factory=list)
    here: list[float] = field(default_factory=list)
    there: list[float] = field(default_factory=list)
    link: list[float] = field(default_factory=list)
    streams: int = 0


@dataclass
class Bars:
    """this: the line and its ends; here, there, link: what is counted"""

    this: Bench
    here: CpuGroup
    there: CpuGroup
    link: CpuGroup

    def run(self, argv: list[str], took: Took) -> None:
        """Run a command to its end, and note what it took."""
        before = [group.seconds for group in (self.here, self.there, self.link)]
        over = threading.Event()
        watch = threading.Thread(target=self._count_streams, args=(took, over))
        watch.start()
        began = time.monotonic()
        subprocess.run(
            self.here.within(argv), env=self.this.environment, check=True, capture_output=True, timeout=TIMEOUT_S
        )
        took.seconds.append(time.monotonic() - began)
        over.set()
        watch.join()
        after = [group.seconds for group in (self.here, self.there, self.link)]
        for values, old, new in zip((took.here, took.there, took.link), before, after, strict=True):
            values.append(new - old)

    def _count_streams(self, took: Took, over: threading.Event) -> None:
        while not over.wait(0.2):
            took.streams = max(took.streams, len(self.this.sshd.sessions()))


Way = Callable[[Path, Took], None]


def in_turns(bars: Bars, ways: dict[str, Way], rounds: int) -> dict[str, Took]:
    took = {name: Took() for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            here = bars.this.here()
            way(here, took[name])
            shutil.rmtree(here)
            print(f"round {number + 1}, {name}: {took[name].seconds[-1]:.2f} s", flush=True)
    return took


def tell(title: str, took: dict[str, Took], size: int) -> None:
    ours, scp = took["t2v"], took["scp"]
    times = [theirs / mine for mine, theirs in zip(ours.seconds, scp.seconds, strict=True)]
    for name, one in took.items():
        middle = statistics.median(one.seconds)
        cpu = "  ".join(
            f"{where} {statistics.median(values) * GIB / size:.2f}"
            for where, values in (("here", one.here), ("there", one.there), ("link", one.link))
        )
        spread = f"{min(one.seconds):.2f} … {max(one.seconds):.2f}"
        print(f"{title} {name:4} {middle:7.2f} s ({spread})  {size / middle / 1e6:6.1f} MB/s  CPU s a GiB: {cpu}")
    print(f"{title} t2v is {statistics.median(times):.2f} × as fast as scp ({min(times):.2f} … {max(times):.2f})")


def down(bars: Bars, mib: int, rounds: int) -> None:
    this = bars.this
    with staged_directory(this.there / "checkpoints/checkpoint_step_1") as partial:
        write_random(partial / "model.safetensors", mib)
    source = f"{this.who}:{this.there}/checkpoints/checkpoint_step_1/model.safetensors"
    ways: dict[str, Way] = {
        "t2v": lambda here, took: bars.run(this.t2v(here, "pull", "checkpoints"), took),
        "scp": lambda here, took: bars.run([*scp(this), source, str(here / "m")], took),
    }
    finish(bars, f"{mib} MiB down", ways, mib * MIB, rounds)
    shutil.rmtree(this.there / "checkpoints")


def up(bars: Bars, mib: int, rounds: int) -> None:
    this = bars.this
    source = this.root / "up.bin"
    write_random(source, mib)

    def ours(here: Path, took: Took) -> None:
        shutil.rmtree(this.there / "data", ignore_errors=True)
        (this.there / ".t2v/pushed.jsonl").unlink(missing_ok=True)
        (here / "data").mkdir()
        # Copied, not linked: the sha256 of what was hashed once is remembered.
        shutil.copy(source, here / "data/up.bin")
        os.sync()
        bars.run(this.t2v(here, "push", "data"), took)

    def theirs(_: Path, took: Took) -> None:
        os.sync()
        bars.run([*scp(this), str(source), f"{this.who}:{this.there}/up.bin"], took)

    finish(bars, f"{mib} MiB up", {"t2v": ours, "scp": theirs}, mib * MIB, rounds, is_up=True)


def finish(bars: Bars, title: str, ways: dict[str, Way], size: int, rounds: int, *, is_up: bool = False) -> None:
    took = in_turns(bars, ways, rounds)
    tell(title, took, size)
    streams = max(1, took["t2v"].streams - 1)  # one is for questions
    raw = statistics.median(raw_tcp(bars.this.link, size, streams, is_up=is_up) for _ in range(min(3, rounds)))
    share = size / statistics.median(took["t2v"].seconds) / raw
    print(f"{title} raw TCP, {streams} streams: {raw / 1e6:.0f} MB/s; t2v's whole command is {share:.0%} of it")


def scp(this: Bench) -> list[str]:
    return ["scp", "-q", "-P", str(this.sshd.port), "-c", GCM, *this.options]


def write_random(path: Path, mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="down,up", help="directions, with a comma")
    parser.add_argument("--rtt-ms", type=float, default=50.0)
    parser.add_argument("--loss", type=float, default=0.0, help="share of the packets of each way")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="each packet, early or late by up to so much")
    parser.add_argument("--congestion", default="", help="congestion control of both ends (default: the system's)")
    parser.add_argument("--cores", type=float, help="hold this side to so much of a core")
    parser.add_argument("--folder", type=Path, help="where to work (default: the folder for temporary files)")
    asked = parser.parse_args()
    line = Line(asked.rtt_ms / 2000, asked.loss, asked.jitter_ms / 1000, asked.congestion)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=asked.folder)))
        here, there, link = (stack.enter_context(cpu_group(name)) for name in ("here", "there", "link"))
        link.take(os.getpid())  # the link is a child
        this = stack.enter_context(bench(folder, line, has_gcloud=False))
        there.take(this.sshd.pid)
        here.limit(asked.cores)
        bars = Bars(this, here, there, link)
        for name in asked.only.split(","):
            {"down": down, "up": up}[name](bars, asked.mib, asked.rounds)


if __name__ == "__main__":
    main()
