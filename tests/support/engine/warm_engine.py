"""The engine's door in real child processes that need not import torch first.

A server process imports the engine once; each job is a fork of it that runs `t2v_core.run_job.main`, with a pid,
signals and an exit code of its own. `engine.start` is the door itself, and costs 9 s more a child.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from support.engine.engine import TIMEOUT_S, Ended, events_of
from support.engine.forked_command import FORKS
from t2v_core.workspace import Workspace, create_job_directory


def enter(verb: str, directory: str, presets: dict[str, dict[str, Any]] | None = None) -> None:
    from t2v_core.presets import PRESET_MODELS
    from t2v_core.run_job import main

    for name, changes in (presets or {}).items():
        PRESET_MODELS[name] |= changes
    log = os.open(Path(directory) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.exit(main([verb, directory]))


@dataclass
class Child:
    """A job at work."""

    process: BaseProcess
    directory: Path

    def wait_for(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event that is what the caller waits for."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            found = next((event for event in events_of(self.directory) if is_it(event)), None)
            if found is not None:
                return found
            assert self.process.exitcode is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def end(self) -> Ended:
        self.process.join(TIMEOUT_S)
        assert self.process.exitcode is not None, "it did not end in time"
        return Ended(self.process.exitcode, events_of(self.directory))

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()


def begin(workspace: Path, verb: str, *, presets: dict[str, dict[str, Any]] | None = None, **spec: Any) -> Child:
    """presets: what is otherwise in the models of these, in that process alone, so that a large one computes soon"""
    directory = create_job_directory(Workspace(workspace), verb)
    (directory / "spec.json").write_text(json.dumps(spec))
    process = FORKS.Process(target=enter, args=(verb, str(directory), presets))
    process.start()
    return Child(process, directory)


def run_warm(workspace: Path, verb: str, **spec: Any) -> Ended:
    return begin(workspace, verb, **spec).end()
