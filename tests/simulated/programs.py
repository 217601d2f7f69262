"""The agent begun once more on the machine: as a supervisor, as the one that ends a job, as the guard that looks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.agent import __main__ as serving
from remote.agent import supervisor
from remote.agent.guard import timer as guard_timer
from remote.agent.jobs.stopping import end_job

from .kernel import Process

if TYPE_CHECKING:
    from .world import World

# Supervisors, and the guard, are nobody's.
ENVIRONMENT = {"T2V_JOB": "-"}


class Child:
    """What subprocess.Popen gives for the agent once more, and for the power button."""

    def __init__(self, world: World, argv: list[str]) -> None:
        self.world, self.argv, self.pid, self.returncode = world, argv, 0, 0
        self.stdout = self.stderr = None

    def communicate(self, said: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        kernel = self.world.kernel
        kernel.call()
        if self.argv == ["power-off"]:
            self.world.power_off()
            return b"", b""
        mode, parameters = self.argv[-1], json.loads(said)
        child = begin_mode(self.world, mode, parameters)
        if not kernel.wait_until(lambda: bool(child.said) or child.ended is not None, timeout or 1e9):
            raise subprocess.TimeoutExpired(self.argv, timeout or 0)
        return (json.dumps(child.said[0]).encode() if child.said else b""), b""


def begin_mode(world: World, mode: str, parameters: dict[str, Any]) -> Process:
    directory = Path(parameters.get("directory", "/"))

    def work() -> None:
        world.kernel.wait(world.kernel.now + 0.1)  # Python starts
        if mode == "guard-watch":
            guard_timer.guard_watch(child.said.append)
            return
        with serving.told(directory):
            if mode == "supervise":
                supervisor.supervise(directory, child.said.append)
            else:
                child.said.append(end_job(directory, parameters["grace_s"]))

    name = {"supervise": f"supervisor {directory.name}", "end": "end", "guard-watch": "guard"}[mode]
    child = world.kernel.begin(name, work, environment=ENVIRONMENT, argv=[sys.executable, "t2v_agent", mode])
    return child
