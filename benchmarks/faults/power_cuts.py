"""Power cuts and restarts of a real machine at random moments of training, preprocessing, pulling and bootstrapping.

python benchmarks/faults/power_cuts.py [--trials 20] [--seed N]      as root: boots a real Debian, twenty of each
python benchmarks/faults/power_cuts.py --works bootstrap              only of that

A cut kills every process and loses what had not reached the disk. Right is an ending named as the machine's, and
work that comes to the same bytes as work to which nothing happened.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"
sys.path[:1] = [str(TESTS.parent), str(TESTS), str(TESTS.with_name("setup"))]

from support.machines.machine_here import machine_here
from support.machines.power_trials import POWER_CUT, REBOOT, Trial, Trials

WORKS = ("train", "preprocess", "pull", "bootstrap")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="of each ending")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS, help="what is under way, in turn")
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    done: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder, machine_here(Path(folder)) as machine:
        trials = Trials(machine, asked.seed)
        for ending in (POWER_CUT, REBOOT):
            for work in itertools.islice(itertools.cycle(asked.works), asked.trials):
                one = trials.trial(work, ending)
                done.append(one)
                word = "right" if one.is_right else "WRONG"
                print(f"{word}  {one.work:10} {one.ending:9} after {one.after_s:4.1f} s  {one.named}", flush=True)
    right = sum(one.is_right for one in done)
    print(f"{right} of {len(done)} right")
    return 0 if right == len(done) else 1


if __name__ == "__main__":
    sys.exit(main())
