"""A real machine loses its power, or is restarted, at a random moment: the ending is named and everything goes on.

benchmarks/faults/power_cuts.py makes forty of these trials.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from support.machines.machine_here import machine_here
from support.machines.power_trials import POWER_CUT, REBOOT, Trials

SEED = random.SystemRandom().randrange(10_000)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    print(f"seed {SEED}")
    with machine_here(tmp_path_factory.mktemp("machine")) as machine:
        yield Trials(machine, SEED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "ending"), [("train", POWER_CUT), ("preprocess", REBOOT), ("pull", REBOOT), ("bootstrap", POWER_CUT)]
)
def test_what_was_under_way_comes_to_its_right_end(trials: Trials, work: str, ending: str) -> None:
    trial = trials.trial(work, ending)
    print(trial)
    assert trial.is_right, (SEED, trial)


@pytest.mark.slow
def test_what_was_installed_is_on_the_disk_when_it_is_said_to_be(trials: Trials) -> None:
    trials.cut_after_bootstrap()
