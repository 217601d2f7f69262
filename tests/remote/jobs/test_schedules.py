"""Random schedules of everything that happens to a host: the agent's promises hold after every step.

The agent's own code runs on a simulated machine (`simulated/`). Many more than here: benchmarks/faults/schedules.py.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from simulated.inside import world_in
from simulated.promises import broken
from simulated.schedule import (
    GUARDS,
    Schedule,
    agree_on_guard,
    folder_of_a_machine,
    outcome,
    require_kept,
    settled,
)
from simulated.steps import NUMBERS, STEPS, Client, Step, do
from simulated.world import NO_GUARD, TIMED, WATCHED

from remote.agent.jobs import requests as jobs

OF_HYPOTHESIS, MOST_STEPS = 100, 15


@pytest.mark.parametrize("first", range(0, 2000, 100))
def test_what_is_promised_holds_whatever_happens(first: int) -> None:
    require_kept(range(first, first + 100))


# What random schedules have found, each in its shortest form: a sentence of what was wrong, and the schedule.
FOUND = {
    "what was done is told by the events also after a power cut": Schedule(
        5, WATCHED, (Step("submit", 0, 0, 0), Step("time", 7, 0, 0), Step("power cut", 0, 0, 0))
    ),
    "a job that is lost stays so when it is asked to stop": Schedule(
        128,
        NO_GUARD,
        (
            Step("submit", 0, 0, 0),
            Step("submit", 0, 2, 0),
            Step("submit", 0, 0, 1),
            Step("power cut", 0, 0, 0),
            Step("stop", 0, 1, 0),
        ),
    ),
    "a training that goes on does not wait for the job that waits for it": Schedule(
        131,
        TIMED,
        (Step("preempt", 0, 0, 0), Step("submit", 3, 0, 0), Step("time", 1, 0, 2), Step("submit", 3, 3, 0)),
    ),
    "half a job is no job after a power cut": Schedule(
        145, TIMED, (Step("power cut soon", 0, 6, 0), Step("submit", 0, 0, 0), Step("time", 1, 0, 1))
    ),
    "half a job is none that starts": Schedule(
        274, NO_GUARD, (Step("power cut soon", 0, 4, 2), Step("submit", 0, 0, 1))
    ),
    "a notice of preemption changes nothing of a job that has ended": Schedule(
        235,
        TIMED,
        (Step("submit", 0, 0, 0), Step("submit", 0, 0, 4), Step("submit", 0, 2, 7), Step("preempt", 1, 0, 0)),
    ),
    "a training that waits for a preempted one does not take its place": Schedule(
        261, TIMED, (Step("submit", 0, 0, 1), Step("submit", 0, 3, 1), Step("preempt", 0, 0, 0))
    ),
    "a job whose supervisor and engine were killed was not stopped": Schedule(
        904,
        WATCHED,
        (
            Step("submit", 0, 0, 0),
            Step("time", 2, 0, 1),
            Step("kill", 0, 0, 0),
            Step("kill", 2, 0, 0),
            Step("submit", 0, 0, 1),
            Step("stop", 0, 1, 0),
        ),
    ),
    "what a killed supervisor wrote and had not synced may be lost with the power": Schedule(
        26132610,
        NO_GUARD,
        (
            Step("submit", 0, 0, 1),
            Step("kill soon", 0, 11, 0),
            Step("submit", 0, 0, 0),
            Step("repeat", 0, 0, 1),
            Step("submit", 0, 3, 1),
            Step("preempt", 6, 7, 2),
        ),
    ),
    "a login that ends stops its job also where the disk takes no note of why": Schedule(
        24261386,
        TIMED,
        (
            Step("submit", 0, 0, 0),
            Step("time", 3, 0, 0),
            Step("disk full", 0, 0, 0),
            Step("logout", 0, 0, 0),
            Step("pause", 0, 0, 1),
        ),
    ),
    "a machine is not idle when a short job has just ended of which no mark could be left": Schedule(
        2558,
        WATCHED,
        (
            Step("time", 10, 0, 0),
            Step("disk full", 0, 0, 0),
            Step("submit", 0, 0, 1),
            Step("submit", 0, 0, 0),
            Step("disk free", 0, 0, 0),
            Step("time", 9, 0, 0),
        ),
    ),
    "a clock that is set back hides nothing from the guard that was asked for just before": Schedule(
        7000201131,
        WATCHED,
        (Step("time", 9, 0, 0), Step("submit", 3, 0, 1), Step("clock", 0, 0, 0), Step("time", 10, 0, 0)),
    ),
    "a look that was killed hides nothing from the next that was asked for just before": Schedule(
        7000558118,
        WATCHED,
        (Step("time", 9, 0, 0), Step("submit", 3, 10, 0), Step("kill", 4, 0, 0), Step("time", 10, 0, 0)),
    ),
    "a job that waits is stopped also where the disk takes no file for it": Schedule(
        7000000378,
        TIMED,
        (
            Step("submit", 0, 0, 0),
            Step("time", 1, 0, 2),
            Step("disk full", 0, 0, 0),
            Step("stop", 0, 0, 1),
            Step("power cut", 0, 0, 0),
        ),
    ),
    "what waits for a training that went on holds up nobody for whom that training waits": Schedule(
        7000518689,
        NO_GUARD,
        (Step("submit", 0, 0, 1), Step("submit", 0, 3, 0), Step("submit", 0, 9, 0), Step("preempt", 0, 0, 0)),
    ),
    "what waits for a preempted job that is no training is refused": Schedule(
        7000557563,
        TIMED,
        (
            Step("submit", 0, 0, 0),
            Step("time", 7, 0, 0),
            Step("submit", 0, 3, 2),
            Step("preempt", 0, 0, 0),
            Step("submit", 0, 3, 1),
        ),
    ),
    "a request to stop and the loss of a job at one moment leave it stopped": Schedule(
        7000514271,
        NO_GUARD,
        (
            Step("submit", 0, 0, 0),
            Step("submit", 0, 0, 1),
            Step("submit", 0, 0, 0),
            Step("kill", 0, 0, 0),
            Step("submit", 0, 1, 2),
            Step("ask stop", 0, 2, 0),
            Step("kill", 2, 0, 2),
        ),
    ),
    "what waits for a training that went on may be refused the moment that one fails": Schedule(
        5076,
        TIMED,
        (
            Step("submit", 0, 5, 1),
            Step("submit", 3, 1, 1),
            Step("submit", 0, 3, 1),
            Step("preempt", 1, 0, 0),
            Step("submit", 10, 9, 6),
        ),
    ),
}


@pytest.mark.parametrize("promise", FOUND)
def test_what_was_found_stays_mended(promise: str) -> None:
    assert not outcome(FOUND[promise])


def test_two_jobs_of_one_second_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(("the-same", "the-same", "another"))
    monkeypatch.setattr(jobs, "new_job_id", lambda _: next(names))
    (tmp_path / jobs.free_job_id(tmp_path, "train")).mkdir()
    assert jobs.free_job_id(tmp_path, "train") == "another"


def test_what_other_threads_of_the_tests_do_is_not_done_on_the_machine(tmp_path: Path) -> None:
    ended = threading.Event()

    def goes_on() -> None:
        while not ended.is_set():
            time.sleep(0.0001)
            (tmp_path / "file").write_bytes(b"")

    beside = threading.Thread(target=goes_on)
    beside.start()
    try:
        require_kept(range(20))
    finally:
        ended.set()
        beside.join()


class Machine(RuleBasedStateMachine):
    """The same steps, chosen by hypothesis, which looks for simple ones."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.client = folder_of_a_machine(), Client()
        self.stack = ExitStack()

    @initialize(seed=st.integers(0, 1000), guard_by=st.sampled_from(GUARDS))
    def boot(self, seed: int, guard_by: str) -> None:
        self.world = self.stack.enter_context(world_in(self.place, seed, guard_by))
        agree_on_guard(self.world)

    @invariant()
    def what_is_promised_holds(self) -> None:
        assert not broken(self.world, self.client)

    def teardown(self) -> None:
        try:
            assert not settled(self.world, self.client)
        finally:
            self.stack.close()
            shutil.rmtree(self.place)


def add_rule(name: str) -> None:
    def happens(self: Machine, a: int, b: int, c: int) -> None:
        do(self.world, self.client, Step(name, a, b, c))

    happens.__name__ = name.replace(" ", "_")
    numbers: dict[str, Any] = {field: st.integers(0, NUMBERS - 1) for field in "abc"}
    setattr(Machine, happens.__name__, rule(**numbers)(happens))


for one in STEPS:
    add_rule(one)

test_what_is_promised_holds_in_what_hypothesis_thinks_of = Machine.TestCase
Machine.TestCase.settings = settings(
    max_examples=OF_HYPOTHESIS, stateful_step_count=MOST_STEPS, deadline=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
