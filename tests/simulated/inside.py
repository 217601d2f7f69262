"""Whoever is inside runs on the machine: the agent's modules ask it, and not the real one."""

from __future__ import annotations

import os
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from remote.agent import __main__ as serving
from remote.agent import supervisor
from remote.agent.base import bounded, machine, processes, units
from remote.agent.base.elsewhere import this_machine
from remote.agent.guard import agreed as guard_agreed
from remote.agent.guard import busy
from remote.agent.guard import power_off as guard_off
from remote.agent.guard import records as guard_files
from remote.agent.guard import signs as guard_signs
from remote.agent.guard import timer as guard_timer
from remote.agent.guard import watch as guard
from remote.agent.jobs import endings

from . import engine
from .calls import answering
from .kernel import QUEUE_POLL_S
from .table import Table
from .world import World


class NoThread:
    """What `bounded.within` knows: it calls then as it is."""

    def __init__(self, **_: Any) -> None: ...

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def libc(world: World) -> Any:
    def prctl(*_: int) -> None:
        world.kernel.current.process.is_subreaper = True  # type: ignore[union-attr]

    return types.SimpleNamespace(prctl=prctl)


@contextmanager
def world_in(folder: Path, seed: int, guard_by: str) -> Iterator[World]:
    """A machine that is on, its guard installed; the agent's modules ask it and not the real one while inside."""
    world = World(folder, seed, guard_by)
    table = Table(world.kernel, world.calls.may_pause)
    replaced = [
        (processes, "PROC", table), (guard_signs, "PROC", table), (guard_signs, "pids", table.pids),
        (processes, "BOOT_ID_FILE", folder / "boot_id"),
        (guard_signs, "TERMINALS", folder), (guard_files, "RUN", world.memory), (guard_off, "RUN", world.memory),
        (busy, "RUN", world.memory), (guard_agreed, "UNITS", folder), (units, "SYSTEMD_MARK", folder / "none"),
        (supervisor, "goes_down", lambda: world.is_going_down), (endings, "goes_down", lambda: world.is_going_down),
        (supervisor, "forked", world.calls.forked), (supervisor, "watch_for_preemption", world.watch_for_preemption),
        (supervisor, "close_standard_files", lambda: None), (guard_timer, "close_standard_files", lambda: None),
        (supervisor, "libc", lambda: libc(world)), (supervisor, "oom_kills", dict),
        (bounded, "threading", types.SimpleNamespace(Thread=NoThread)), (machine, "nvidia_smi", lambda: None),
        (serving, "say_line", world.hear), (units, "ANSWERS", {}), (guard, "MARK", None),
        (supervisor, "QUEUE_POLL_S", QUEUE_POLL_S),
    ]  # fmt: skip
    this_machine()  # is read once by a process, as the first of these should be like all others
    with ExitStack() as stack:
        for module, name, value in replaced:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)
        home = {"HOME": str(folder / "home"), "T2V_POWER_OFF": "power-off", "PATH": os.environ["PATH"]}
        stack.enter_context(mock.patch.dict(os.environ, home, clear=True))
        stack.enter_context(engine.in_the_engines_place())
        stack.enter_context(answering(world.calls))
        try:
            world.boot()
            yield world
        finally:
            world.off()
