"""Two hosts train together, and one is lost at a random moment: does the job go on, and what does it cost?

    python benchmarks/lost_hosts.py [--count 20] [--seed N]

Each host is a real sshd in a network namespace of its own; which one is lost, when, and whether its network goes first
(a pulled plug: nobody is told) or answers for it, is drawn. Ends with the assertion that noticed when a job does not
end well, goes on from an earlier checkpoint than the last that it had told of, the other host goes on for a minute, or
the weights at the end are further than 1e-5 from those of the first trial. Takes root, for the namespaces.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:1] = [str(Path(__file__).parents[1] / name) for name in (".", "tests", "setup")]

from support.engine.training_set import tensors
from support.gang.trials import INTERVAL, Trial, bring_data, one_trial
from support.gang.two_hosts import two_hosts

LONGEST_S, FURTHEST = 60.0, 1e-5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.count} trials", flush=True)
    rng, trials = random.Random(asked.seed), list[Trial]()
    with tempfile.TemporaryDirectory() as folder, two_hosts(Path(folder) / "hosts", lost_s=20.0) as hosts:
        bring_data(hosts)
        for number in range(asked.count):
            trials.append(trial := one_trial(hosts, rng, number))
            apart = further(trials[0].final, trial.final)
            print(
                f"{number + 1}: {trial.victim} by {trial.way} at step {trial.at_step}; the other ended after "
                f"{trial.stopped_s:.1f} s, {trial.lost_steps} steps again, weights {apart:.1e} apart",
                flush=True,
            )
            assert trial.begun >= trial.kept
            assert trial.stopped_s < LONGEST_S
            assert apart <= FURTHEST
    told, again = sorted(trial.stopped_s for trial in trials), max(trial.lost_steps for trial in trials)
    print(
        f"{len(trials)} of {asked.count} went on; the other host ended after {told[len(told) // 2]:.0f} s in the "
        f"median, {told[-1]:.0f} s at most; at most {again} of {INTERVAL} steps again"
    )


def further(one: Path, other: Path) -> float:
    """Return the largest difference between the tensors of two checkpoints."""
    left, right = tensors(one), tensors(other)
    return max(float((left[name] - right[name]).abs().max()) for name in left)


if __name__ == "__main__":
    main()
