"""Handing a job over to a resident engine, which has its model loaded already; see verbs/resident.py."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.job import Job

RESIDENT = "T2V_RESIDENT"
DOOR, VERB = "door", "serve"
POLL_S = 0.1
# From its job directory to its open door: Python starts and imports the specs, on a machine that may swap.
OPENING_TIMEOUT_S = 60.0
TAKEN = "taken"


def address_of(job: Job, resident: str) -> str:
    """Return where the resident's socket lies, relative to the workspace."""
    return str(job.workspace.relative(job.workspace.jobs / resident / DOOR))


def read_line(connection: socket.socket) -> str:
    """Read up to the next newline; returns what there was when the other side ended before."""
    data = b""
    while not data.endswith(b"\n") and len(data) < 4096 and (byte := connection.recv(1)):
        data += byte
    return data.decode().rstrip("\n")


def hand_over(verb: str, job: Job) -> int | None:
    """Give the job to the resident that the environment names, and return the code that it ended with.

    None when no resident takes it: then the caller does the work. Raises Stopped when it was asked to stop before it
    was begun, WorkFailed when the resident was killed while it worked.
    """
    resident = os.environ.get(RESIDENT, "")
    if not resident or verb == VERB:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        if not _reached(connection, resident, job):
            return None
        connection.settimeout(POLL_S)
        try:
            connection.sendall(json.dumps({"verb": verb, "job": job.directory.name}).encode() + b"\n")
            if _answer(connection, job, is_begun=False) != TAKEN:
                return None
            said = _answer(connection, job, is_begun=True)
        except OSError as error:
            raise _gone(resident) from error
    if not said:
        raise _gone(resident)
    return int(said)


def _gone(resident: str) -> WorkFailed:
    return WorkFailed(
        f"the resident engine {resident} ended while it worked on this", hint=f"try again; its log: t2v logs {resident}"
    )


def _reached(connection: socket.socket, resident: str, job: Job) -> bool:
    """Connect, as soon as a resident that is just starting has opened its door."""
    if Path(resident).name != resident:
        raise InvalidRequest(f"{RESIDENT}={resident!r} is not a job id", hint="t2v jobs lists them")
    address, deadline = address_of(job, resident), time.monotonic() + OPENING_TIMEOUT_S
    while True:
        try:
            connection.connect(address)
        except OSError:
            job.check_stop()
            has_ended = (job.workspace.jobs / resident / "exit.json").exists()
            if has_ended or not (job.workspace.jobs / resident).is_dir() or time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        else:
            return True


def _answer(connection: socket.socket, job: Job, *, is_begun: bool) -> str:
    """The next line from the resident, empty when it ended; a signal of ours is passed on once the work has begun."""
    is_told = False
    while True:
        try:
            return read_line(connection)
        except TimeoutError:
            stopped = job.signal_request() if is_begun else job.stop_request()
        if stopped is not None and not is_begun:
            raise stopped
        if stopped is not None and not is_told:
            connection.sendall(f"{stopped.exit_code}\n".encode())
            is_told = True
