"""How fast a job's events are read: 100,000 steps, as a follower meets them when it comes late.

    python benchmarks/hosts/event_rate.py [--lines 100000] [--rounds 5]

It prints the median time of a line in µs of CPU: JSON alone, the event, and the event folded for the screen. To compare
two versions, run them in turns, each with its own PYTHONPATH.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # before this folder, where another `remote` lies

from t2v_core.disk.plain_json import table
from t2v_core.events import Event
from t2v_tui.store.run_fold import Fold


def lines_of(count: int) -> list[bytes]:
    """Steps as training writes them."""
    form = (
        '{{"t":{t},"kind":"step","step":{step},"total":{count},"epoch":{epoch},"loss":{loss},"learning_rate":0.0001,'
        '"grad_norm":0.4213,"samples_per_s":45.12,"data_wait":0.0123}}'
    )
    return [
        form.format(t=1.7e9 + step, step=step, count=count, epoch=step // 1000, loss=round(1 / step, 6)).encode()
        for step in range(1, count + 1)
    ]


def timed(take: Callable[[bytes], object], lines: list[bytes]) -> float:
    """Microseconds of CPU a line."""
    began = time.process_time()
    for line in lines:
        take(line)
    return (time.process_time() - began) / len(lines) * 1e6


def folded(fold: Fold) -> Callable[[bytes], object]:
    """Reads a line and folds its event."""

    def take(line: bytes) -> None:
        if (event := Event.from_line(line)) is not None:
            fold.take(event)

    return take


def main() -> None:
    """Take turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    lines = lines_of(asked.lines)
    spent: dict[str, list[float]] = {"JSON alone": [], "the event": [], "the event folded": []}
    for _ in range(asked.rounds):
        for name, take in zip(spent, (table, Event.from_line, folded(Fold())), strict=True):
            spent[name].append(timed(take, lines))
    for name, each in spent.items():
        print(f"{name:<17} {statistics.median(each):6.2f} µs a line, {min(each):.2f} to {max(each):.2f}")


if __name__ == "__main__":
    main()
