"""Random schedules of everything that happens to a host, on a simulated machine with the agent's own code.

python benchmarks/schedules.py [--count 100000] [--seed N]

Ctrl-C ends it and says how it went so far. Each failure is printed as the shortest schedule that fails in the same way,
to be kept in tests/remote/jobs/test_schedules.py.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:1] = [str(TESTS.parent), str(TESTS)]

from simulated.schedule import outcome, random_schedule, shortest, without_names, written

SAID_EVERY_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**40))
    parser.add_argument("--place", type=Path, help="a folder for the machines' disks, best in memory")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    begun, said_at, steps = time.monotonic(), time.monotonic(), 0
    failures: dict[str, int] = {}
    number = 0
    try:
        for number in range(1, asked.count + 1):
            schedule = random_schedule(asked.seed + number - 1)
            steps += len(schedule.steps)
            if said := outcome(schedule, asked.place):
                kind = without_names(said)
                failures[kind] = failures.get(kind, 0) + 1
                if failures[kind] == 1:
                    print(f"seed {schedule.seed}: {written(*shortest(schedule, said))}", flush=True)
            if time.monotonic() - said_at > SAID_EVERY_S:
                said_at = time.monotonic()
                print(progress(number, asked.count, said_at - begun, sum(failures.values())), flush=True)
    except KeyboardInterrupt:
        number -= 1  # the one in work
    took_s = time.monotonic() - begun
    print(f"{number} schedules, {steps} steps, {sum(failures.values())} failures, {took_s:.0f} s, "
          f"{time.process_time():.0f} s of one core")  # fmt: skip
    for kind, count in failures.items():
        print(f"{count:6}  {kind}")
    return 1 if failures else 0


def progress(done: int, count: int, took_s: float, failures: int) -> str:
    rate = done / took_s
    return f"{done} of {count}, {rate:.0f} a second, {(count - done) / rate:.0f} s left, {failures} failures"


if __name__ == "__main__":
    sys.exit(main())
