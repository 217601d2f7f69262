"""What may happen to the machine: each step is a name and three small numbers, so that a schedule is plain data."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .truth import JobTruth
from .world import STOP_MORE_S, Process, Question, World

NUMBERS = 12
TIMES_S = (0.0, 0.01, 0.2, 0.7, 2.0, 4.0, 8.0, 20.0, 45.0, 90.0, 240.0, 700.0)
CLOCK_JUMPS_S = (-86400.0, -3600.0, -600.0, -5.0, -1.0, -0.001, 0.001, 1.0, 5.0, 600.0, 3600.0, 86400.0)


class Step(NamedTuple):
    name: str
    a: int
    b: int
    c: int


class Client:
    """What both clients have asked for so far."""

    def __init__(self) -> None:
        self.submissions: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[tuple[str, str], set[str]] = {}
        self.asked: dict[int, tuple[str, str]] = {}


def do(world: World, client: Client, step: Step) -> None:
    """One step, with what the machine does in it by chance decided by the step alone."""
    chance = random.Random(repr(step))
    pause_s = chance.choice((0.0001, 0.001, 0.02))
    world.kernel.call_s = lambda: chance.choice((0.0001, pause_s))
    STEPS[step.name](world, client, step)
    world.kernel.run(0.0)


def root(world: World, number: int) -> str:
    """Mostly the one that the guard was told of."""
    return str(world.folder / ("w1" if number % 4 == 3 else "w0"))


def submit(world: World, client: Client, step: Step) -> None:
    """a: workspace and client; b: what kind of job; c: whether the answer is waited for, and how long the job is"""
    spec = {"steps": 2 + step.c % 4, "checkpoints": f"checkpoints/{len(client.submissions)}"}
    if step.c == 11:  # longer than the guard lets a machine run
        spec |= {"steps": 10, "rests": 20}
    if step.b == 10:
        spec |= {"is_deaf": True, "steps": 20}
    if step.b % 6 == 5:
        spec["fails_at"] = 2
    asked: dict[str, Any] = {
        "workspace": root(world, step.a), "verb": "train", "spec": spec, "needs_gpu": step.b % 3 != 2, "env": {},
        "key": f"key-{len(client.submissions)}", "python": [sys.executable],
    }  # fmt: skip
    jobs = [one for one in world.truth.jobs.values() if str(one.directory.parent.parent) == asked["workspace"]]
    if step.b % 4 == 3 and jobs:
        asked["verb"] = "train" if step.c % 2 else "generate"
        asked["after"] = jobs[step.b % len(jobs)].directory.name
    if step.b == 9:
        asked |= {"python": [], "argv": ["/nowhere/at/all", "train", "/"], "verb": "other"}
    client.submissions.append((asked["workspace"], asked))
    put(world, client, step, asked)


def put(world: World, client: Client, step: Step, asked: dict[str, Any]) -> None:
    question = world.ask(step.a % 2, "start", **asked)
    client.asked[id(question)] = (asked["workspace"], asked["key"])
    settle(world, question, step)


def settle(world: World, question: Question, step: Step) -> None:
    """Two of three wait for the answer."""
    if step.c % 3:
        world.wait_for(question)


def repeat(world: World, client: Client, step: Step) -> None:
    if client.submissions:
        put(world, client, step, client.submissions[step.b % len(client.submissions)][1])


def a_job(world: World, number: int) -> JobTruth | None:
    jobs = list(world.truth.jobs.values())
    return jobs[-1 - number % len(jobs)] if jobs else None


def asks_of_a_job(verb: str, deadline_s: float | None = None, **more: Any) -> Callable[[World, Client, Step], None]:
    def ask(world: World, _: Client, step: Step) -> None:
        job = a_job(world, step.b)
        if job is not None:
            job.graces_s += [more.get("grace_s", 60.0)] if "stop" in (verb, more.get("what")) else []
            if "stop" in (verb, more.get("what")):
                job.stop_asked_at = world.kernel.now
            job.was_asked_to_end |= "stop" in (verb, more.get("what"))
            place = {"workspace": str(job.directory.parent.parent), "job": job.directory.name}
            settle(world, world.ask(step.a % 2, verb, deadline_s, **place, **more), step)

    return ask


def stop(world: World, client: Client, step: Step) -> None:
    grace_s = (0.0, 1.0, 10.0, 60.0)[step.c % 4]
    asks_of_a_job("stop", grace_s + STOP_MORE_S, grace_s=grace_s, is_anyones=step.c < 9)(world, client, step)


def leave(what: str) -> Callable[[World, Client, Step], None]:
    return asks_of_a_job("request", what=what, is_anyones=True)


def status(world: World, _: Client, step: Step) -> None:
    settle(world, world.ask(step.a % 2, "status", workspace=root(world, step.a)), step)


def some(world: World, step: Step) -> Process | None:
    """A process by its kind; of several the one that a number says."""
    kind = ("supervisor", "supervisor", "engine", "agent", "guard", "end")[step.a % 6]
    found = [one for one in world.kernel.processes.values() if one.name.split()[0] == kind]
    return found[step.b % len(found)] if found else None


def kill(world: World, _: Client, step: Step) -> None:
    one = some(world, step)
    if one is not None:
        world.truth.faults += 1
        world.guard_was_hurt |= one.name == "guard"
        world.kernel.send(one.pid, signal.SIGKILL)


def kill_soon(world: World, _: Client, step: Step) -> None:
    """In the middle of what it does next."""
    one = some(world, step)
    if one is not None:
        world.truth.faults += 1
        world.guard_was_hurt |= one.name == "guard"
        one.dies_in = 1 + step.b * 3 + step.c % 3


def logout(world: World, _: Client, step: Step) -> None:
    one = some(world, Step(step.name, 0, step.b, step.c))
    if one is not None:
        world.truth.faults += 1
        for job in world.truth.jobs.values():  # a full disk does not take the supervisor's note that it was so
            job.was_asked_to_end |= job.is_at_work and one.name == f"supervisor {job.directory.name}"
        world.kernel.send(one.pid, signal.SIGTERM)


def reboot(world: World, _: Client, __: Step) -> None:
    world.go_down(comes_back=True)


def power_cut(world: World, _: Client, __: Step) -> None:
    world.cut()


def power_cut_soon(world: World, _: Client, step: Step) -> None:
    world.truth.faults += 1
    world.kernel.cut_in = 1 + step.b * 5 + step.c % 5


def disk_full(world: World, _: Client, step: Step) -> None:
    world.disk.is_full, world.disk.spare_blocks = True, step.a // 4
    world.truth.faults += 1


def disk_free(world: World, _: Client, __: Step) -> None:
    world.disk.is_full = False


def clock(world: World, _: Client, step: Step) -> None:
    world.kernel.wall_offset += CLOCK_JUMPS_S[step.a]
    world.kernel.changed()


def preempt(world: World, _: Client, step: Step) -> None:
    world.preempt(is_told_to_end=bool(step.a % 2))


def resume(world: World, _: Client, step: Step) -> None:
    settle(world, world.ask(step.a % 2, "resume_preempted", workspace=root(world, step.a)), step)


def guard_look(world: World, _: Client, __: Step) -> None:
    if world.is_on:
        world.look()


def keep(world: World, _: Client, step: Step) -> None:
    settle(world, world.ask(step.a % 2, "keep", seconds=60.0 * step.b), step)


def time_passes(world: World, _: Client, step: Step) -> None:
    world.kernel.run(TIMES_S[step.a])


STEPS: dict[str, Callable[[World, Client, Step], None]] = {
    "submit": submit, "repeat": repeat, "stop": stop, "ask stop": leave("stop"), "save": leave("save"),
    "pause": leave("pause"), "resume": leave("resume"), "status": status, "kill": kill, "kill soon": kill_soon,
    "logout": logout, "reboot": reboot, "power cut": power_cut, "power cut soon": power_cut_soon,
    "disk full": disk_full, "disk free": disk_free, "clock": clock, "preempt": preempt, "resume preempted": resume,
    "guard look": guard_look, "keep": keep, "time": time_passes,
}  # fmt: skip
WEIGHTS = {"submit": 8, "time": 7, "status": 3, "repeat": 3, "kill": 3, "kill soon": 4}


def some_steps(chance: random.Random, number: int) -> list[Step]:
    names = chance.choices(list(STEPS), [WEIGHTS.get(name, 1) for name in STEPS], k=number)
    return [Step(name, *(chance.randrange(NUMBERS) for _ in range(3))) for name in names]
