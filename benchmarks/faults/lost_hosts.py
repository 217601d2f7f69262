"""Two hosts train together, and one is lost at a random moment: does the job go on, and what does it cost?

    python benchmarks/faults/lost_hosts.py [--count 20] [--seed N]
    python benchmarks/faults/lost_hosts.py --for-good [--count 5] [--seed N]

Each host is a real sshd in a network namespace of its own; which one is lost, when, and whether its network goes first
(a pulled plug: nobody is told) or answers for it, is drawn. Ends with the assertion that noticed when a job does not
end well, goes on from an earlier checkpoint than the last that it had told of, the other host goes on for a minute, or
the weights at the end are further than 1e-5 from those of the first trial. With `--for-good`
three hosts train with `--min-hosts 2`, one that does not hold the checkpoints is lost and does not come back: seconds
until the two that are left have made a step. Takes root, for the namespaces.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:1] = [str(Path(__file__).parents[2] / name) for name in (".", "tests", "setup")]

from support.engine.training_set import tensors
from support.gang.bridged_hosts import bridged_hosts
from support.gang.trials import INTERVAL, TRAIN, Trial, bring_data, one_trial, steps_told
from support.hosts.agent_here import wait_until

from t2v_core.events import read_events

LONGEST_S, FURTHEST = 60.0, 1e-5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--for-good", action="store_true")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    asked = parser.parse_args()
    count = asked.count or (5 if asked.for_good else 20)
    print(f"seed {asked.seed}, {count} trials", flush=True)
    if asked.for_good:
        lose_for_good(random.Random(asked.seed), count)
    else:
        lose_and_return(random.Random(asked.seed), count)


def lose_and_return(rng: random.Random, count: int) -> None:
    """Lose one of two hosts, and boot it as soon as the other has ended."""
    trials = list[Trial]()
    with tempfile.TemporaryDirectory() as folder, bridged_hosts(Path(folder) / "hosts", "ab", lost_s=20.0) as hosts:
        bring_data(hosts)
        for number in range(count):
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
        f"{len(trials)} of {count} went on; the other host ended after {told[len(told) // 2]:.0f} s in the "
        f"median, {told[-1]:.0f} s at most; at most {again} of {INTERVAL} steps again"
    )


def lose_for_good(rng: random.Random, count: int) -> None:
    """Lose one of three hosts, which stays off until the two that are left train."""
    took = list[float]()
    with tempfile.TemporaryDirectory() as folder, bridged_hosts(Path(folder) / "hosts", "abc", lost_s=20.0) as hosts:
        bring_data(hosts)
        for number in range(count):
            more = ["--epochs", "500", "--checkpoints", f"checkpoints/{number}", "--detach"]
            assert hosts.t2v([*TRAIN, *more, "--hosts", "a,b,c", "--min-hosts", "2"]).wait(300) == 0, hosts.said()
            led, moment = hosts.led(), rng.randrange(8, 30)
            wait_until(lambda led=led, moment=moment: steps_told(led) >= moment)
            victim = hosts.far[rng.choice("bc")]
            victim.lose_power(at_once=rng.random() < 0.5)
            lost_t = time.time()
            wait_until(lambda led=led: first_of_two(led) is not None)
            took.append((first_of_two(led) or 0.0) - lost_t)
            print(
                f"{number + 1}: {victim.name} lost after step {moment}; two trained after {took[-1]:.1f} s", flush=True
            )
            assert hosts.t2v(["stop", led.name]).wait(300) == 0, hosts.said()
            victim.boot()
    print(
        f"{count} of {count} went on, after {sorted(took)[count // 2]:.0f} s in the median, {max(took):.0f} s at most"
    )


def first_of_two(led: Path) -> float | None:
    """Return when the two that are left made their first step; None before."""
    starts = 0
    for event in read_events(led / "events.jsonl"):
        starts += "processes, each" in str(event.plain().get("detail", ""))
        if starts == 2 and event.kind == "step":
            return event.t
    return None


def further(one: Path, other: Path) -> float:
    """Return the largest difference between the tensors of two checkpoints."""
    left, right = tensors(one), tensors(other)
    return max(float((left[name] - right[name]).abs().max()) for name in left)


if __name__ == "__main__":
    main()
