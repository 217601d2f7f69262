"""Random schedules, run step by step until a promise is broken; and the shortest that breaks the same."""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .inside import world_in
from .promises import broken, states
from .steps import Client, Step, do, some_steps
from .world import IDLE_STOP_MIN, LIVE, MAX_RUN_H, NO_GUARD, TIMED, WATCHED, World

GUARDS = (NO_GUARD, TIMED, WATCHED)
LONGEST = 20
SETTLED_WITHIN = 60


class Schedule(NamedTuple):
    seed: int
    guard_by: str
    steps: tuple[Step, ...]


def random_schedule(seed: int) -> Schedule:
    chance = random.Random(seed)
    return Schedule(seed, chance.choice(GUARDS), tuple(some_steps(chance, chance.randint(6, LONGEST))))


def written(schedule: Schedule, said: str) -> str:
    """What is printed of one that fails: it may be put into test_schedules.py as it is."""
    steps = "".join(f"    Step({step.name!r}, {step.a}, {step.b}, {step.c}),\n" for step in schedule.steps)
    return f"{said}\nSchedule({schedule.seed}, {schedule.guard_by!r}, (\n{steps}))"


def shortest(schedule: Schedule, said: str) -> tuple[Schedule, str]:
    """The same less every step, and every number, that it fails without; and what it then says."""
    wanted = without_names(said)

    def fails(steps: Sequence[Step]) -> str:
        found = outcome(schedule._replace(steps=tuple(steps)))
        return found if without_names(found) == wanted else ""

    steps, is_shorter = list(schedule.steps), True
    while is_shorter:
        is_shorter = False
        for fewer in simpler(steps):
            if found := fails(fewer):
                steps, said, is_shorter = fewer, found, True
                break
    return schedule._replace(steps=tuple(steps)), said


def simpler(steps: Sequence[Step]) -> Iterator[list[Step]]:
    for size in (8, 4, 2, 1):
        for begin in range(len(steps) - size + 1):
            yield [*steps[:begin], *steps[begin + size :]]
    for place, step in enumerate(steps):
        for field in ("a", "b", "c"):
            for number in range(getattr(step, field)):
                yield [*steps[:place], step._replace(**{field: number}), *steps[place + 1 :]]


def without_names(said: str) -> str:
    """Jobs have other names, and times are others, in a schedule that is shorter."""
    return re.sub(r"\b[0-9a-f]{4}\b|\d+", "#", said)


def require_kept(seeds: Iterable[int]) -> None:
    """Raises AssertionError with the shortest schedule that breaks the promise which the first of these breaks."""
    for seed in seeds:
        schedule = random_schedule(seed)
        if said := outcome(schedule):
            raise AssertionError(written(*shortest(schedule, said)))


def outcome(schedule: Schedule, folder: Path | None = None) -> str:
    """Run it; returns the promise that was broken, "" for none."""
    place = folder_of_a_machine(folder)
    try:
        with world_in(place, schedule.seed, schedule.guard_by) as world:
            return played(world, schedule.steps)
    finally:
        shutil.rmtree(place)


def folder_of_a_machine(folder: Path | None = None) -> Path:
    """In memory where there is some: nothing of it is to last."""
    memory = Path("/dev/shm")  # a name of its own is made in it
    is_there = memory.is_dir() and os.access(memory, os.W_OK)
    return Path(tempfile.mkdtemp(prefix="t2v-schedule-", dir=folder or (memory if is_there else None)))


def played(world: World, steps: Sequence[Step]) -> str:
    client = Client()
    world.kernel.on_turn = lambda: noticed(world)
    agree_on_guard(world)
    for step in steps:
        do(world, client, step)
        if said := broken(world, client):
            return said
    return settled(world, client)


def noticed(world: World) -> None:
    """Also in the middle of a step nothing is said of a job that does not fit."""
    with world.observing():
        if said := states(world):
            world.truth.wrong.append(said)


def agree_on_guard(world: World) -> None:
    if world.guard_by == NO_GUARD:
        return
    rules = {"idle_stop_min": IDLE_STOP_MIN, "max_run_h": MAX_RUN_H, "idle_gpu_percent": 5.0}
    question = world.ask(0, "install_guard", workspace=str(world.folder / "w0"), **rules)
    world.wait_for(question)


def settled(world: World, client: Client) -> str:
    """With room on the disk and somebody who looks, every job comes to an end."""
    world.disk.is_full, world.kernel.cut_in = False, None
    for number in range(SETTLED_WITHIN):
        for job in world.truth.jobs.values():
            (job.directory / "pause").unlink(missing_ok=True)
        world.kernel.changed()
        for root in ("w0", "w1"):
            if number % 4 == 0:  # as when a VM was started
                world.wait_for(world.ask(number % 2, "resume_preempted", workspace=str(world.folder / root)))
            world.wait_for(world.ask(number % 2, "status", workspace=str(world.folder / root)))
        if said := broken(world, client):
            return said
        if not any(job.last_word in LIVE for job in world.truth.jobs.values()):
            return ""
        world.kernel.run(30.0 * (1 + number // 10))
    return "; ".join(
        f"{job.directory.name} stays {job.last_word}" for job in world.truth.jobs.values() if job.last_word in LIVE
    )
