"""Random schedules of everything that happens to a host, on a simulated machine with the agent's own code.

python benchmarks/faults/schedules.py [--count 100000] [--seed N] [--processes N]

Ctrl-C ends it and says how it went so far, and how to go on. Each failure is printed as the shortest schedule that
fails in the same way, to be kept in tests/remote/jobs/test_schedules.py.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:1] = [str(TESTS.parent), str(TESTS)]

from simulated.schedule import Schedule, outcome, random_schedule, shortest, without_names, written

SAID_EVERY_S = 10.0
SEEDS_AT_ONCE = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**40))
    parser.add_argument("--place", type=Path, help="a folder for the machines' disks, best in memory")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM):  # in the background of a script Python does not listen
        signal.signal(ending, signal.default_int_handler)
    print(f"seed {asked.seed}", flush=True)
    begun = said_at = time.monotonic()
    number, steps, failures = 0, 0, Counter[str]()
    try:
        for number, (schedule, said) in enumerate(judged(asked), 1):
            steps += len(schedule.steps)
            if said:
                kind = without_names(said)
                failures[kind] += 1
                if failures[kind] == 1:
                    print(f"seed {schedule.seed}: {written(*shortest(schedule, said))}", flush=True)
            if time.monotonic() - said_at > SAID_EVERY_S:
                said_at = time.monotonic()
                print(progress(number, asked.count, said_at - begun, failures.total()), flush=True)
    except KeyboardInterrupt:
        print(f"to go on: --seed {asked.seed + number} --count {asked.count - number}")
    took_s = time.monotonic() - begun
    print(f"{number} schedules, {steps} steps, {failures.total()} failures, {took_s:.0f} s, "
          f"{of_cores_s():.0f} s of cores")  # fmt: skip
    for kind, count in failures.items():
        print(f"{count:6}  {kind}")
    return 1 if failures else 0


def judged(asked: argparse.Namespace) -> Iterator[tuple[Schedule, str]]:
    """Yield each schedule with the promise that it breaks, in the order of their seeds."""
    seeds, judge = range(asked.seed, asked.seed + asked.count), partial(judged_one, asked.place)
    if asked.processes == 1:
        unobserved_by_gc()
        yield from map(judge, seeds)
        return
    with multiprocessing.Pool(asked.processes, unobserved_by_gc) as pool:
        yield from pool.imap(judge, seeds, chunksize=SEEDS_AT_ONCE)


def judged_one(place: Path | None, seed: int) -> tuple[Schedule, str]:
    schedule = random_schedule(seed)
    return schedule, outcome(schedule, place)


def unobserved_by_gc() -> None:
    """What is imported stays; and in a pool's process Ctrl-C is its parent's to answer."""
    gc.freeze()
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def of_cores_s() -> float:
    """Return the seconds of cores that this process and those it has waited for have taken."""
    mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def progress(done: int, count: int, took_s: float, failures: int) -> str:
    rate = done / took_s
    return f"{done} of {count}, {rate:.1f} a second, {(count - done) / rate:.0f} s left, {failures} failures"


if __name__ == "__main__":
    sys.exit(main())
