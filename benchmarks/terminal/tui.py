"""The terminal UI as a whole, on a real pseudo-terminal of 120×40: its start, its idleness, and how soon a key is work.

python benchmarks/terminal/tui.py [start|idle|key] [--rounds 5] [--seconds 20]

start: CPU seconds to the first paint, interleaved with the smallest Textual app there is, and memory after 3 s
idle:  CPU and bytes to the terminal with a training shown that says nothing, and on the first page
key:   from the press of `t` to the job's process, here and over SSH at 50 ms there and back
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import resource
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.sshd import Sshd

ROOT = Path(__file__).parents[2]
# The bench that the tests use as well, in place of this folder, in which `remote` is another benchmark.
sys.path[:1] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "setup")]

COLUMNS, ROWS = 120, 40
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SILENCE_S, PATIENCE_S = 0.03, 0.4  # after which nothing more is painted; within which the painting begins
PAINTED_BYTES = 2000  # of a first frame; what comes before are questions to the terminal
ONE_WAY_S = 0.025
WORKS = "import pathlib, time; print('at work', flush=True); time.sleep(600)"
MINIMAL = """
from textual.app import App
from textual.widgets import Footer, Header, Static

class Minimal(App):
    def compose(self):
        yield Header()
        yield Static("hello " * 400)
        yield Footer()

Minimal().run()
"""


@dataclass
class Child:
    """A program on a pseudo-terminal of its own. read: bytes that it wrote so far"""

    pid: int
    terminal: int
    read: int = 0

    def drain(self, seconds: float) -> int:
        """Read what it writes for so long; the bytes."""
        began, before = time.monotonic(), self.read
        while (left := began + seconds - time.monotonic()) > 0:
            if select.select([self.terminal], [], [], left)[0]:
                self.read += len(os.read(self.terminal, 65536))
        return self.read - before

    def until(self, is_so: Callable[[], bool], *, timeout_s: float = 60.0) -> float:
        """Seconds until then; reads on meanwhile, as a terminal does."""
        began = time.monotonic()
        while not is_so():
            if time.monotonic() > began + timeout_s:
                raise TimeoutError("it did not come to that")
            self.drain(0.005)
        return time.monotonic() - began

    def press(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    @property
    def cpu_s(self) -> float:
        """Its own, without that of its children."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) * TICK_S

    @property
    def fine_cpu_s(self) -> float:
        """The same without the threads that have ended, by the scheduler's own count, which is finer than a tick."""
        return sum(_ran_s(task) for task in Path(f"/proc/{self.pid}/task").iterdir())

    @property
    def main_thread_s(self) -> float:
        """CPU seconds of its first thread, which draws."""
        return _ran_s(Path(f"/proc/{self.pid}/task/{self.pid}"))

    @property
    def rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6


def _ran_s(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    except OSError:  # it has just ended
        return 0.0


@dataclass(frozen=True)
class Painted:
    """One key. wall_s: until the last byte of what it painted; cpu_s: that this took, whatever else the machine does"""

    wall_s: float
    cpu_s: float


def painted(child: Child, key: str) -> Painted | None:
    """From the press to the last byte before it is silent; None when it paints nothing."""
    child.drain(0.05)
    began, before, last = time.monotonic(), child.fine_cpu_s, 0.0
    child.press(key)
    while select.select([child.terminal], [], [], SILENCE_S if last else PATIENCE_S)[0]:
        child.read += len(os.read(child.terminal, 1 << 20))
        last = time.monotonic()
    return Painted(last - began, child.fine_cpu_s - before) if last else None


def print_painted(what: str, took: dict[str, list[Painted]]) -> None:
    """The median and the slowest of keys on the clock and of the CPU, and which key costs most."""
    every = [one for some in took.values() for one in some]
    if not every:
        print(f"{what}: no key paints anything")
        return
    slowest = max(took, key=lambda key: statistics.median(one.cpu_s for one in took[key]))
    said = []
    for name, seconds in (("key to paint", [one.wall_s for one in every]), ("its CPU", [one.cpu_s for one in every])):
        ordered = sorted(1000 * one for one in seconds)
        said.append(f"{name} p50 {statistics.median(ordered):.1f} ms, p95 {ordered[int(0.95 * len(ordered))]:.1f} ms")
    most = 1000 * statistics.median(one.cpu_s for one in took[slowest])
    once, key = max((one.cpu_s, key) for key, some in took.items() for one in some)
    worst = f"most CPU: {slowest!r} {most:.1f} ms, once {key!r} {1000 * once:.1f} ms"
    print(f"{what}: {len(every)} keys, {'; '.join(said)}; {worst}", flush=True)


@contextmanager
def on_terminal(*arguments: str, env: dict[str, str] | None = None, python: str = sys.executable) -> Iterator[Child]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    kept |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
    child = subprocess.Popen(
        [python, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=kept,
        cwd=ROOT,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Child(child.pid, master)
    finally:
        child.kill()
        child.wait()
        os.close(master)


def tui(workspace: Path) -> list[str]:
    return ["-m", "t2v_tui.main", "--workspace", str(workspace)]


def minimal_app(folder: Path) -> list[str]:
    (folder / "minimal.py").write_text(MINIMAL)
    return [str(folder / "minimal.py")]


@dataclass(frozen=True)
class Paint:
    """A start: seconds on the clock and of CPU to the first frame; after_mb: memory some seconds later"""

    wall_s: float
    cpu_s: float
    after_mb: float = 0.0


def first_paint(
    arguments: list[str], *, env: dict[str, str] | None = None, python: str = sys.executable, stay_s: float = 0.0
) -> Paint:
    with on_terminal(*arguments, env=env, python=python) as child:
        wall = child.until(lambda: child.read > PAINTED_BYTES)
        cpu = child.cpu_s
        child.drain(stay_s)
        return Paint(wall, cpu, child.rss_mb)


def print_paints(found: dict[str, list[Paint]]) -> None:
    """Medians; the first of each only warmed the caches."""
    for name, (_, *paints) in found.items():
        wall, cpu = statistics.median(one.wall_s for one in paints), statistics.median(one.cpu_s for one in paints)
        print(f"{name:<10} first paint after {wall:.2f} s, {cpu:.2f} CPU s   (median of {len(paints)})")


def print_start(folder: Path, rounds: int) -> None:
    found: dict[str, list[Paint]] = {"minimal": [], "t2v-tui": []}
    for _ in range(rounds + 1):
        found["minimal"].append(first_paint(minimal_app(folder)))
        found["t2v-tui"].append(first_paint(tui(folder), stay_s=3.0))
    print_paints(found)
    print(f"t2v-tui    {statistics.median(paint.after_mb for paint in found['t2v-tui'][1:]):.0f} MB after 3 s")


def print_idle(folder: Path, seconds: float) -> None:
    from support.hosts.agent_here import Here, agent  # of the tests

    with on_terminal(*tui(folder)) as child:
        child.drain(15.0)  # the first page's checks
        _print_idle("first page", child, seconds)
    with agent() as one:
        here = Here(folder, one)
        job = here.start(WORKS, verb="train")
        here.at_work(job)
        with on_terminal(*tui(folder)) as child:
            child.drain(5.0)
            _print_idle("a training that is silent", child, seconds)
        here.stop_all()


def _print_idle(what: str, child: Child, seconds: float) -> None:
    before = child.cpu_s
    written = child.drain(seconds)
    cpu = (child.cpu_s - before) / seconds
    print(f"idle, {what:<26} {cpu:5.1%} CPU   {written / seconds / 1000:.2f} kB/s to the terminal")


def print_key(folder: Path, rounds: int) -> None:
    from support.engine.training_set import data_set  # of the tests, with torch

    print(f"key to job, here              {_keys(folder, folder, rounds, data_set(), {}):.3f} s   (median of {rounds})")
    from bench.chaos import ChaosProxy
    from bench.sshd import Sshd

    sshd = Sshd(folder / "sshd")
    sshd.start()
    try:
        with ChaosProxy(("127.0.0.1", sshd.port)) as proxy:
            there, config = folder / "there", folder / "config"
            there.mkdir()
            _pin(config, sshd, proxy.port)
            here = folder / "here"
            here.mkdir()
            (here / "t2v.toml").write_text(
                f'[host.vm]\naddress = "127.0.0.1"\nport = {proxy.port}\nidentity = "{sshd.client_key}"\n'
                f'user = "{sshd.user}"\nworkdir = "{there}"\npython = "{sys.executable}"\n'
            )
            proxy.rules.delay_s = ONE_WAY_S
            env = {"XDG_CONFIG_HOME": str(config), "HOME": str(config)}
            took = _keys(here, there, rounds, data_set(), env, choose="h\x1b[B\r")
            print(f"key to job, SSH at 50 ms RTT  {took:.3f} s   (median of {rounds})")
    finally:
        sshd.kill()


def _pin(config: Path, sshd: Sshd, port: int) -> None:
    from remote.hosts.known_hosts import KnownHosts

    config.mkdir()
    known = KnownHosts(config / "t2v/known_hosts")
    known.pin(f"[127.0.0.1]:{port}", [sshd.public_host_key])


def _keys(here: Path, there: Path, rounds: int, data: Path, env: dict[str, str], *, choose: str = "") -> float:
    """Press `t` again and again, each run with checkpoints of its own; until its process is there."""
    settings = here / "t2v.toml"
    hosts = settings.read_text() if settings.exists() else ""
    settings.write_text(f'data = "{data}"\ncheckpoints = "{there}/held"\n[train]\npreset = "tiny"\n{hosts}')
    found = []
    for _ in range(rounds):
        with on_terminal(*tui(here), env=env) as child:
            child.drain(2.0)
            if choose:
                for key in (choose[0], choose[1:-1], choose[-1]):
                    child.press(key)
                    child.drain(0.7)
                child.drain(4.0)  # the link is up, the host is known
            before = set((there / "jobs").glob("*-train-*"))
            child.press("t")
            found.append(child.until(partial(_began, there, before)))
            child.press("\x1b")  # taken back within three seconds
            child.drain(1.5)
        _end_all(there)
    return statistics.median(found)


def _began(there: Path, before: set[Path]) -> bool:
    return any((job / "state.json").exists() for job in set((there / "jobs").glob("*-train-*")) - before)


def _end_all(folder: Path) -> None:
    from support.hosts.agent_here import Here, agent

    with agent() as one:
        Here(folder, one).stop_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["start", "idle", "key"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    for what, measure in (
        ("start", lambda folder: print_start(folder, asked.rounds)),
        ("idle", lambda folder: print_idle(folder, asked.seconds)),
        ("key", lambda folder: print_key(folder, asked.rounds)),
    ):  # fmt: skip
        if asked.what in (None, what):
            with tempfile.TemporaryDirectory() as folder:
                measure(Path(folder))


if __name__ == "__main__":
    main()
