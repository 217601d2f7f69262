"""Processes that nobody's end can reach: this program once more, as a unit of the system or forked twice."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from ..base.elsewhere import is_elsewhere, is_heard_of
from ..base.files import LOCK_TIMEOUT_S, Json, Problem, exclusive, read_json
from ..base.processes import JOB_VARIABLE, NOBODY, boot_id, is_supervised, job_processes
from ..base.units import PROCESS, again, begins_unit, way
from .endings import how_it_ended
from .last_words import write_exit
from .rows import DETACH_TIMEOUT_S


def settle(directory: Path) -> None:
    """Write `exit.json` for a job that ended while nobody looked, when its events say how."""
    with suppress(Problem), exclusive(directory / "lock", timeout_s=0):
        if not (directory / "exit.json").exists() and (ended := how_it_ended(directory, None)):
            write_exit(directory, ended)


def tend(directory: Path) -> None:
    """Do as `see_to`, by the way of something else, which must not fail for it: on a full disk nothing can be begun."""
    with suppress(Problem, OSError):
        see_to(directory)


def see_to(directory: Path) -> None:
    """See to it that a job that has not ended has a supervisor, also when its first one was killed.

    One of another machine that sees this folder is that machine's to look after.

    Raises Problem, OSError.
    """
    if (directory / "exit.json").exists() or is_supervised(directory):
        return
    if is_elsewhere(directory):
        if not is_heard_of(directory):
            settle(directory)
        return
    state = read_json(directory / "state.json")
    if state is None or (state.get("boot_id") == boot_id() and job_processes(directory)):
        ensure_supervisor(directory)
    else:
        settle(directory)


def detached(mode: str, parameters: Json, timeout_s: float = DETACH_TIMEOUT_S) -> Json:
    """Run the agent once more as a process that nobody's end can reach; returns what it says.

    It has a session of its own, no parent but init, and belongs to no job.
    """
    child = subprocess.Popen(
        [*again(), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={**os.environ, JOB_VARIABLE: NOBODY},
    )
    try:
        said, _ = child.communicate(json.dumps(parameters).encode() + b"\n", timeout=timeout_s)
        answer = json.loads(said)
    except subprocess.TimeoutExpired:
        raise Problem("failed", f"the agent's {mode} did not answer within {timeout_s:g} s", "ask again") from None
    except ValueError:
        raise Problem("failed", f"the agent's {mode} ended without saying why", "see agent-error in the job") from None
    return dict(answer)


def leave_parent() -> None:
    """Do the second half of detaching: the first process ends, and this one is init's and can get no terminal."""
    if os.fork():
        os._exit(0)


def close_standard_files() -> None:
    """Point stdin, stdout and stderr at /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def ensure_supervisor(directory: Path) -> None:
    """Start a supervisor for a job: as a unit of systemd where that is needed and works, else as a detached process."""
    kept_by = way()
    if kept_by == PROCESS or not (begins_unit(directory, kept_by) and has_begun(directory)):
        detached("supervise", {"directory": str(directory)})


def has_begun(directory: Path) -> bool:
    """Return True when the unit's supervisor is at work; where it is not, the caller starts one in the other way."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while time.monotonic() < deadline:
        if is_supervised(directory) or (directory / "exit.json").exists():
            return True
        time.sleep(0.02)
    return False
