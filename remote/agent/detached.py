"""Processes that nobody's end can reach: this program once more, as a unit of the system or forked twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .endings import how_it_ended
from .files import LOCK_TIMEOUT_S, Json, Problem, exclusive, read_json, write_json
from .processes import JOB_VARIABLE, NOBODY, boot_id, is_supervised, job_processes
from .rows import DETACH_TIMEOUT_S

SYSTEMD_MARK = Path(os.environ.get("T2V_SYSTEMD_MARK", "/run/systemd/system"))  # sd_booted(3)


def settle(directory: Path) -> None:
    """Write `exit.json` for a job that ended while nobody looked, when its events say how."""
    with suppress(Problem), exclusive(directory / "lock", timeout_s=0):
        if not (directory / "exit.json").exists() and (ended := how_it_ended(directory, None)):
            write_json(directory / "exit.json", ended)


def tend(directory: Path) -> None:
    """See to it that a job that has not ended has a supervisor, also when its first one was killed."""
    if (directory / "exit.json").exists() or is_supervised(directory):
        return
    state = read_json(directory / "state.json")
    if state is None:
        ensure_supervisor(directory)
    elif state.get("boot_id") == boot_id() and job_processes(directory):
        detached("supervise", {"directory": str(directory)})
    else:
        settle(directory)


# A package by this name wherever its folder lies, compiled once (20 ms) and not each time; isolated (-I), nothing
# beside it is imported.
RUN = (
    "import importlib.util as u, sys; p = sys.argv[1]; "
    "s = u.spec_from_file_location('t2v_agent', p + '/__init__.py', submodule_search_locations=[p]); "
    "sys.modules['t2v_agent'] = u.module_from_spec(s); "
    "from t2v_agent.__main__ import main; sys.exit(main(sys.argv[2:]))"
)


def again() -> list[str]:
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", RUN, str(Path(__file__).resolve().parent)]


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
        raise Problem("failed", f"the agent's {mode} ended without a word", "see agent-error in the job") from None
    return dict(answer)


def leave_parent() -> None:
    """The second half of detaching: the first process ends, and this one is init's and can get no terminal."""
    if os.fork():
        os._exit(0)


def close_standard_files() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def ensure_supervisor(directory: Path) -> None:
    """Start a supervisor for a queued job: as a unit of the system where that works, else as a detached process."""
    if not (may_use_systemd() and begin_unit(directory)):
        detached("supervise", {"directory": str(directory)})


def systemd_argv(directory: Path, uid: int, gid: int) -> list[str]:
    """The exact command for a transient unit with our supervisor in it.

    A user's own units die with the last login on Ubuntu 24.04 in spite of linger (systemd#43361), hence the system's.
    The parameters are hex digits: systemd expands `%` and `$` in what it is given. The supervisor ignores SIGTERM and
    writes down how the job ended, so out of memory must not stop the unit before that.
    """
    log, parameters = directory / "log", json.dumps({"directory": str(directory)}).encode()
    return [
        "sudo", "-n", "systemd-run", f"--unit=t2v-{directory.name}", f"--uid={uid}", f"--gid={gid}", "--collect",
        "--quiet", "-p", "KillMode=control-group", "-p", "TimeoutStopSec=60", "-p", f"StandardOutput=append:{log}",
        "-p", f"StandardError=append:{log}", "-p", "OOMPolicy=continue", f"--setenv={JOB_VARIABLE}={NOBODY}",
        "--", *again(), "supervise",
        parameters.hex(),
    ]  # fmt: skip


SYSTEMD: list[bool] = []


def may_use_systemd() -> bool:
    """True where systemd is process 1 and this user may start system units without a password; asked once."""
    if not SYSTEMD:
        SYSTEMD.append(SYSTEMD_MARK.is_dir() and succeeds(["sudo", "-n", "systemd-run", "--version"]))
    return SYSTEMD[0]


def succeeds(argv: Sequence[str]) -> bool:
    try:
        return (
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def begin_unit(directory: Path) -> bool:
    """True when the unit's supervisor is at work; where it is not, the caller starts one in the other way."""
    if not succeeds(systemd_argv(directory, os.getuid(), os.getgid())):
        return False
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while time.monotonic() < deadline:
        if is_supervised(directory) or (directory / "exit.json").exists():
            return True
        time.sleep(0.02)
    return False
