"""Every verb of `t2v` with hostile values in each field and hostile files in each place: does each end in a sentence?

    python benchmarks/faults/hostile_verbs.py [--count N] [--seed S] [--only TEXT]

N cases of the whole product, in an order that the seed decides; all of them without --count. --only: those whose words
hold that text, such as "t2v train" or "a FIFO". Each failing command line is printed with what is wrong and the last
lines of its stderr. It runs in a temporary folder, without a network.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:1] = [str(Path(__file__).parents[2] / name) for name in (".", "tests", "setup")]

from support.hostile.hostile_cases import every_case
from support.hostile.hostile_run import Case, made_world, tried


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = made_world(Path(folder))
        draw = random.Random(asked.seed)
        cases = [case for case in every_case(world.places, draw) if asked.only in case.about]
        draw.shuffle(cases)
        cases = cases[: asked.count]
        print(f"seed {asked.seed}, {len(cases)} cases, {len(world.places)} places", flush=True)
        failing, began = Counter[str](), time.monotonic()
        for number, case in enumerate(cases, 1):
            if wrong := tried(case, world):
                failing[wrong[0].split("\n")[0][:60]] += 1
                print(f"\n{case.about}\n    {line_of(case)}\n  " + "\n  ".join(wrong), flush=True)
            is_terminal = sys.stderr.isatty()
            if number % (20 if is_terminal else 100) == 0:
                told = f"{number} of {len(cases)}, {failing.total()} failing"
                print(
                    f"\r{told}" if is_terminal else told, end="" if is_terminal else "\n", file=sys.stderr, flush=True
                )
        seconds = time.monotonic() - began
    print(f"\n{len(cases)} cases in {seconds:.0f} s, {failing.total()} failing")
    for what, count in failing.most_common():
        print(f"{count:6}  {what}")
    sys.exit(1 if failing else 0)


def line_of(case: Case) -> str:
    """As it would be typed, shortened."""
    variables = [f"{name}={shlex.quote(value[:60])}" for name, value in case.variables]
    words = [shlex.quote(word[:60]) for word in ("t2v", *case.words)]
    beside = f"   # t2v.toml: {case.settings[:80]!r}" if case.settings else ""
    beside += f"   # {case.place[0]} is {case.place[1]}" if case.place else ""
    return ascii(" ".join([*variables, *words]))[1:-1] + beside


if __name__ == "__main__":
    main()
