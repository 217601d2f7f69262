"""The agent as a child of the test, and programs that stand for the engine."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from remote.hosts import agent_upload as loader
from remote.hosts.agent_client import Agent, ProcessChannel, agent_argv

DEADLINE_S = 120.0
ENDED = ("succeeded", "failed", "stopped", "preempted", "lost")

# Runs until a file named `go` lies in the workspace, then ends with the code it was given.
WAITS = """
import pathlib, sys, time
print("at work", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.01)
sys.exit(int(sys.argv[1]))
"""


def open_agent(mode: str, python: str = sys.executable, **environment: str) -> ProcessChannel:
    return ProcessChannel(agent_argv([mode], python), env=os.environ | environment)


@contextmanager
def agent(python: str = sys.executable, **environment: str) -> Iterator[Agent]:
    """A resident agent, with additions to its environment; on a busy machine it may be long silent."""
    with Agent(open_agent("serve", python, **environment), "here", silence_s=DEADLINE_S) as one:
        yield one


@contextmanager
def agent_of_the_test(folder: Path, program: str) -> Iterator[None]:
    """What is brought to hosts is this program; no key of this user's agent is offered there."""
    package = folder / "agent"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(program)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "AGENT", package)
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        loader.agent_source.cache_clear()
        yield
    loader.agent_source.cache_clear()


@dataclass
class Here:
    """A workspace of this machine, seen through an agent."""

    workspace: Path
    agent: Agent

    def call(self, name: str, /, **parameters: Any) -> dict[str, Any]:
        return self.agent.call(name, timeout_s=DEADLINE_S, workspace=str(self.workspace), **parameters)

    def stop_all(self) -> None:
        for row in self.call("status")["jobs"]:
            if row["state"] not in ENDED:
                self.call("stop", job=row["job"], grace_s=0)

    def start(self, program: str, *arguments: str, verb: str = "test", **parameters: Any) -> str:
        """Run a Python program as a job; returns the job's id."""
        argv = [sys.executable, "-c", program, *arguments]
        return str(self.call("start", verb=verb, argv=argv, **parameters)["job"])

    def start_engine(self, program: str, **parameters: Any) -> str:
        """A program in the engine's place: run as `PROGRAM -m t2v_core VERB JOBDIR`, judged by its events."""
        folder = self.workspace / "engine"
        folder.mkdir(exist_ok=True)
        (folder / "run.py").write_text(program)
        return str(
            self.call("start", verb="test", python=[sys.executable, str(folder / "run.py")], **parameters)["job"]
        )

    def row(self, job: str) -> dict[str, Any]:
        return dict(self.call("status", jobs=[job])["jobs"][0])

    def directory(self, job: str) -> Path:
        return self.workspace / "jobs" / job

    def state(self, job: str) -> dict[str, Any]:
        return dict(json.loads((self.directory(job) / "state.json").read_text()))

    def wait_for(self, job: str, *states: str) -> dict[str, Any]:
        """The job's row as soon as it is in one of the states."""
        deadline = time.monotonic() + DEADLINE_S
        while (row := self.row(job))["state"] not in states:
            assert row["state"] not in ENDED, row
            assert time.monotonic() < deadline, row
            time.sleep(0.02)
        return row

    def end_of(self, job: str) -> dict[str, Any]:
        return self.wait_for(job, *ENDED)

    def at_work(self, job: str) -> None:
        """Wait until the job's program has written to its log."""
        wait_until(lambda: (self.directory(job) / "log").exists() and (self.directory(job) / "log").stat().st_size > 0)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
