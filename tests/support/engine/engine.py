"""The engine through its real door: a job directory, a child process, its events."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.warm.python import warm
from t2v_core.events import EventWriter, read_events
from t2v_core.job import Job
from t2v_core.specs import Spec
from t2v_core.workspace import Workspace, create_job_directory

TIMEOUT_S = 120
# Without an address of its own it asks for that of this machine's name, and waits for ever where there is none.
TORCHRUN = (
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc_per_node", "2",
    "-m", "t2v_core",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """A job that came to its end."""

    code: int
    events: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    @property
    def done(self) -> dict[str, Any]:
        return self.of("done")[0]

    @property
    def error(self) -> dict[str, Any]:
        return self.of("error")[0]

    @property
    def warnings(self) -> str:
        return "\n".join(event["message"] for event in self.of("warning"))


def start(
    workspace: Path, verb: str, *, python: str = sys.executable, **spec: Any
) -> tuple[subprocess.Popen[bytes], Path]:
    """Begin `python -m t2v_core VERB JOBDIR` in a workspace; returns the child and its job directory."""
    directory = create_job_directory(Workspace(workspace), verb)
    (directory / "spec.json").write_text(json.dumps(spec))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (directory / "log").open("wb") as log:
        child = subprocess.Popen(
            [python, "-m", "t2v_core", verb, str(directory)], stdout=log, stderr=log, env=environment
        )
    return child, directory


def run(workspace: Path, verb: str, **spec: Any) -> Ended:
    child, directory = start(workspace, verb, python=warm(), **spec)
    code = child.wait(TIMEOUT_S)
    return Ended(code, events_of(directory))


def events_of(directory: Path) -> list[dict[str, Any]]:
    return [{"kind": event.kind} | event.plain() for event in read_events(directory / "events.jsonl")]


def job_here(workspace: Path, verb: str = "test") -> Job:
    """A job for calling a verb's function within this process."""
    directory = create_job_directory(Workspace(workspace.resolve()), verb)
    return Job(directory, Workspace(workspace.resolve()), EventWriter(directory / "events.jsonl"))


def in_workspace(verb: Callable[[Any, Job], Any], spec: Spec, job: Job) -> Any:
    """Call a verb's function as the door does: its workspace is the current folder."""
    with contextlib.chdir(job.workspace.root):
        return verb(spec, job)


@dataclass
class StopsAfter(Job):
    """A job that is asked to stop when it has been asked for the nth time whether it should."""

    questions: int = 6

    def check_stop(self) -> None:
        self.questions -= 1
        if self.questions == 0:
            (self.directory / "stop").touch()
        super().check_stop()
