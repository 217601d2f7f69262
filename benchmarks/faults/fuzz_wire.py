"""Everything that is read of what somebody else wrote, given mutated inputs for as long as asked.

    python benchmarks/faults/fuzz_wire.py [--minutes 10] [--seed N] [--only events,t2v.toml]

Each input is read by the product's own reader. Anything but a value or a sentence, and whatever takes more than 20 s,
is a fault; at the end each kind of fault is printed with the shortest input that showed it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:1] = [str(Path(__file__).parents[2] / name) for name in (".", "tests", "setup")]

from support.hostile.wire_mutations import fault, mutated
from support.hostile.wire_samples import TARGETS

PROGRESS_S = 30.0
SHOWN_BYTES = 400
# A turn for each target, so that slow ones get as much time as quick ones.
TURN_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--only", default="", help="names of targets, with commas between them")
    asked = parser.parse_args()
    only = set(filter(None, asked.only.split(",")))
    targets = [target for target in TARGETS if not only or target.name in only]
    print(f"seed {asked.seed}, {len(targets)} targets, {asked.minutes:g} minutes", flush=True)
    rng, counts = random.Random(asked.seed), dict.fromkeys((target.name for target in targets), 0)
    faults: dict[tuple[str, str], bytes] = {}
    began, told = time.monotonic(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="t2v-fuzz-") as folder:
        while time.monotonic() - began < 60 * asked.minutes:
            for target in targets:
                turn = time.monotonic()
                while time.monotonic() - turn < TURN_S:
                    data = mutated(target, rng)
                    counts[target.name] += 1
                    if why := fault(target, data, Path(folder)):
                        key = target.name, why.partition(": ")[0]
                        if len(data) < len(faults.get(key, data + b" ")):
                            faults[key] = data
            if time.monotonic() - told >= PROGRESS_S:
                told = time.monotonic()
                print(f"{told - began:5.0f} s  {sum(counts.values())} inputs, {len(faults)} faults", flush=True)
    for name, count in counts.items():
        print(f"{count:8} {name}")
    for (name, why), data in sorted(faults.items(), key=lambda one: len(one[1])):
        print(f"FAULT in {name}: {why}\n  {data[:SHOWN_BYTES]!r}{' …' if len(data) > SHOWN_BYTES else ''}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
