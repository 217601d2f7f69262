"""Jobs in child processes that go through the engine's door, and need not load the engine first.

A server process imports the engine once; each job is a fork of it that runs `t2v_core.run_job.main`, with a pid,
signals, an exit code and a log of its own. A new interpreter takes 5 s of a core to get as far.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from t2v_core.events import Event, read_events
from t2v_core.resume_check.kill_point import KillPoint
from t2v_core.workspace import Workspace, create_job_directory

PRELOAD = [
    "t2v_core.verbs.train",
    "t2v_core.data.encode.encode_splits",
    "t2v_core.data.shapes.shapes_set",
    "t2v_core.resume_check.witness",
]
POLL_S = 0.1
_FORKED = multiprocessing.get_context("forkserver")


def load_engine() -> None:
    """Begin to load the engine in the server that children are forked from; returns at once."""
    _FORKED.set_forkserver_preload(PRELOAD)


class Children:
    """The processes of one job.

    directory: the job's
    """

    def __init__(self, directory: Path, processes: Sequence[BaseProcess]) -> None:
        self.directory, self.processes = directory, processes

    @property
    def pids(self) -> list[int]:
        """Return the ids of the processes that have started."""
        return [process.pid for process in self.processes if process.pid is not None]

    @property
    def events(self) -> list[Event]:
        """Return the job's events so far; none before its file is there."""
        path = self.directory / "events.jsonl"
        return list(read_events(path)) if path.exists() else []

    @property
    def log(self) -> str:
        """Return what the job's log holds so far."""
        return (self.directory / "log").read_text()

    def kill(self) -> None:
        """Send `kill -9` to each that still runs, and wait for their end."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()

    def end(self, check: Callable[[], None]) -> int:
        """Wait until one fails or all are done; the others of one that failed are killed. Returns its exit code, or 0.

        check: called all the while; what it raises ends the children too
        """
        try:
            while True:
                codes = [process.exitcode for process in self.processes]
                failed = [code for code in codes if code]
                if failed or None not in codes:
                    return failed[0] if failed else 0
                wait([process.sentinel for process in self.processes if process.exitcode is None], POLL_S)
                check()
        finally:
            self.kill()


def start_children(
    workspace: Workspace, verb: str, values: Mapping[str, Any], *, processes: int = 1, point: KillPoint | None = None
) -> Children:
    """Begin a job of `workspace` in as many processes, with the environment that a launcher gives them.

    values: what `spec.json` says
    point: where each process dies
    """
    directory = create_job_directory(workspace, verb)
    (directory / "spec.json").write_text(json.dumps(values))
    environments = _environments(processes, on_cpu=values.get("device") == "cpu")
    children = [
        _FORKED.Process(target=_enter, args=(verb, str(directory), environment, point)) for environment in environments
    ]
    for child in children:
        child.start()
    return Children(directory, children)


def _environments(processes: int, *, on_cpu: bool) -> list[dict[str, str]]:
    if processes == 1:
        return [{}]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": port} | ({"ACCELERATE_USE_CPU": "true"} if on_cpu else {})
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _enter(verb: str, directory: str, environment: dict[str, str], point: KillPoint | None) -> None:
    """The child's own beginning."""
    from t2v_core.run_job import main  # the door imports nothing of this package

    os.environ.update(environment)
    log = os.open(Path(directory) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    if verb == "train":
        from t2v_core.resume_check.witness import install  # the server has loaded it

        install(Path(directory), int(environment.get("RANK", "0")), point)
    sys.exit(main([verb, directory]))
