"""A resident engine: one process that does jobs one after the other and keeps the last model loaded.

`python -m t2v_core serve JOBDIR` is a job of its own and listens on a socket in its directory. Every other job starts
as it always does. When its environment names a resident (`T2V_RESIDENT`), it hands its directory over before anything
slow is imported, waits, and ends with the code that the work ended with. So each stays a job that everybody sees, can
be stopped like any other, and does the work itself when the resident is gone.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2v_core.disk.plain_json import table
from t2v_core.errors import Stopped
from t2v_core.events.results import JobsDone
from t2v_core.job import Job
from t2v_core.processes.hand_over import POLL_S, TAKEN, VERB, address_of, read_line
from t2v_core.run_job import VERBS, events_of, run_job
from t2v_core.specs import ServeSpec

FAILED = 1
REQUEST_TIMEOUT_S = 10.0


@dataclass
class HandedOver(Job):
    """A job of another process: its signals come over the connection, and its end is a request to stop.

    resident: the job that this process is; asked to stop, both end
    """

    caller: socket.socket = field(kw_only=True)
    resident: Job = field(kw_only=True)

    def stop_request(self) -> Stopped | None:
        """Return the request to stop that this job, its caller or the resident got; None without one."""
        return super().stop_request() or self._said_by_caller() or self.resident.stop_request()

    def _said_by_caller(self) -> Stopped | None:
        if not select.select([self.caller], [], [], 0)[0]:
            return None
        try:
            data = self.caller.recv(64, socket.MSG_PEEK)
        except OSError:
            data = b""
        if not data:
            return Stopped("stopped: the process that requested it is gone")
        exit_code = int(data.split(b"\n")[0])
        return Stopped("interrupted" if exit_code == 130 else "stopped by SIGTERM", exit_code=exit_code)


def serve(spec: ServeSpec, job: Job) -> JobsDone:
    """Do the jobs that are handed over until nobody has come for `idle_s`, or it is asked to stop.

    Ends as well after a job that failed: out of memory or a device error may have spoilt the process for the next.
    """
    keep: dict[str, Any] = {}
    count, idle_since = 0, time.monotonic()
    with _open_door(job) as door:
        job.events.stage("ready", f"ends after {spec.idle_s:g} idle seconds")
        while time.monotonic() - idle_since < spec.idle_s:
            job.check_stop()
            try:
                caller, _ = door.accept()
            except TimeoutError:
                continue
            with caller:
                code = _do(caller, job, keep)
            if code == FAILED:
                break
            count += code is not None
            idle_since = time.monotonic()
    return JobsDone(jobs=count)


@contextmanager
def _open_door(job: Job) -> Iterator[socket.socket]:
    """Listen in the job's directory. Its address is relative to the workspace: a socket's may have 107 bytes."""
    address = address_of(job, job.directory.name)
    with socket.socket(socket.AF_UNIX) as door:
        mask = os.umask(0o177)
        try:
            door.bind(address)
        finally:
            os.umask(mask)
        door.listen(64)
        door.settimeout(POLL_S)
        try:
            yield door
        finally:
            Path(address).unlink(missing_ok=True)


def _do(caller: socket.socket, resident: Job, keep: dict[str, Any]) -> int | None:
    """One job; None when nobody could say which. The caller may be gone by the time it has ended."""
    try:
        caller.settimeout(REQUEST_TIMEOUT_S)
        asked = table(read_line(caller).encode())
        verb, name = str(asked["verb"]), str(asked["job"])
        directory = resident.workspace.jobs / name
        if verb not in VERBS or verb == VERB or Path(name).name != name or not directory.is_dir():
            return None
        caller.sendall(f"{TAKEN}\n".encode())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with _logged(directory / "log"), events_of(directory) as events:
        job = HandedOver(directory, resident.workspace, events, keep=keep, caller=caller, resident=resident)
        code = run_job(verb, job)
    with suppress(OSError):
        caller.sendall(f"{code}\n".encode())
    return code


@contextmanager
def _logged(log: Path) -> Iterator[None]:
    """While inside, what the process writes goes into the job's own log."""
    kept = os.dup(1), os.dup(2)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        yield
    finally:
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)
        os.close(descriptor)
