"""The terminal UI seen over SSH: bytes and round trips of a key, on a link of 0, 50 and 300 ms there and back.

python benchmarks/terminal/tui_over_ssh.py [--rounds 5] [--rtt 0 50 300]

A real ssh client on a pseudo-terminal of 120×40, a real sshd behind a proxy that holds back what passes, and the app at
the other end, in a workspace with checkpoints and videos. Round trips are what a key takes more than on a link without
delay, in round trips of the link: 1 is the least there can be.
"""

from __future__ import annotations

import argparse
import os
import select
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT), str(ROOT / "tests")]

from bench.chaos import ChaosProxy
from bench.sshd import Sshd
from support.engine.results_world import results
from tui import Child, on_terminal

# What a key is, and the keys that come one after the other; each is measured.
KEYS: tuple[tuple[str, Sequence[str]], ...] = (
    ("to another screen", ("2", "3", "7", "8", "9", "2")),
    ("a row down or up", ("j", "j", "k", "k")),
    ("help, and away", ("?", "\x1b")),
    ("a letter of a prompt", ("4", "i", "a", " ", "r", "e", "d")),
)
NOT_COUNTED = {"4", "i"}  # lead to the entry
SETTLED_S, SILENCE_S = 1.0, 0.2


@dataclass(frozen=True)
class Key:
    """bytes: to the terminal; seconds: from the press to the last of them"""

    bytes: int
    seconds: float


@contextmanager
def app_at(rtt_s: float, workspace: Path, folder: Path) -> Iterator[Child]:
    sshd = Sshd(folder / f"sshd-{rtt_s}")
    sshd.start()
    try:
        with ChaosProxy(("127.0.0.1", sshd.port)) as proxy:
            proxy.rules.delay_s = rtt_s / 2
            app = shlex.join([sys.executable, "-m", "t2v_tui.main", "--workspace", str(workspace)])
            options = ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR"]
            arguments = ["-tt", "-p", str(proxy.port), "-i", str(sshd.client_key)]
            arguments += [part for option in options for part in ("-o", option)]
            line = f"cd {shlex.quote(str(ROOT))} && COLORTERM=truecolor {app}"
            with on_terminal(*arguments, f"{sshd.user}@127.0.0.1", line, python="ssh") as child:
                child.until(lambda: child.read > 5000)
                child.drain(10 * SETTLED_S)
                yield child
    finally:
        sshd.kill()


def pressed(child: Child, key: str, rtt_s: float) -> Key:
    """From the press to the last byte before silence."""
    child.drain(SETTLED_S)
    began = last = time.monotonic()
    before = child.read
    child.press(key)
    while select.select([child.terminal], [], [], (rtt_s if last == began else 0.0) + 5 * SILENCE_S)[0]:
        child.read += len(os.read(child.terminal, 1 << 20))
        last = time.monotonic()
        if not select.select([child.terminal], [], [], SILENCE_S)[0]:
            break
    return Key(child.read - before, last - began)


def measured(rtt_s: float, rounds: int, workspace: Path, folder: Path) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {name: [] for name, _ in KEYS}
    with app_at(rtt_s, workspace, folder) as child:
        for number in range(rounds + 1):
            for name, keys in KEYS:
                took = [(key, pressed(child, key, rtt_s)) for key in keys]
                if number:  # the first makes the screens
                    found[name] += [one for key, one in took if key not in NOT_COUNTED and one.bytes]
            child.press("\x1b")
    return found


def print_table(found: dict[float, dict[str, list[Key]]]) -> None:
    here = found[min(found)]
    links = [rtt for rtt in found if rtt]
    heads = [f"{1000 * rtt:.0f} ms: time, round trips" for rtt in links]
    print("| a key | bytes, median | most | without delay |" + "".join(f" {head} |" for head in heads))
    print("|---" * (4 + len(links)) + "|")
    for name, _ in KEYS:
        alone = statistics.median(one.seconds for one in here[name])
        sizes = [one.bytes for took in found.values() for one in took[name]]
        cells = [f"{statistics.median(sizes) / 1000:.1f} kB", f"{max(sizes) / 1000:.1f} kB", f"{1000 * alone:.0f} ms"]
        for rtt in links:
            took = statistics.median(one.seconds for one in found[rtt][name])
            cells.append(f"{1000 * took:.0f} ms, {(took - alone) / rtt:.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rtt", type=float, nargs="+", default=[0, 50, 300], metavar="MS")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results(folder / "workspace")
        rtts = sorted({one / 1000 for one in asked.rtt} | {0.0})
        print_table({rtt: measured(rtt, asked.rounds, folder / "workspace", folder) for rtt in rtts})


if __name__ == "__main__":
    main()
