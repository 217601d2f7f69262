"""What tests have left behind: processes that outlive them, and files in the folder for temporary ones."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path

from support.house.under_load import slowed
from support.warm.python import servers

PATIENCE_S = float(os.environ.get("T2V_TEST_PATIENCE_S", "20"))
# Made once a test process, and gone with it: the small data set, and what torch makes; and what a t2v
# that a test kills, and a torchrun, leave for the system's own cleaning.
KEPT = ("t2v-training-set-", "torchinductor_", "torchelastic_", "t2v-release-", "t2v-ranks-")


def processes_of(base: Path) -> dict[int, str]:
    """Command lines of the living processes, by pid, that have the folder in argument, environment or as their own.

    Not this process, nor what it has started itself and still looks after: those end with it.
    """
    names = re.compile(re.escape(os.fsencode(base)) + rb"(?![\w.-])")  # not what only begins with its name
    found, kept = {}, {os.getpid(), *servers()}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            is_ours = (
                names.search(command) or names.search((entry / "environ").read_bytes()) or entry_is_in(entry, base)
            )
            if is_ours and state not in (b"Z", b"X") and int(entry.name) not in kept and int(parent) != os.getpid():
                said = " ".join(command.decode(errors="replace").replace("\0", " ").split())
                found[int(entry.name)] = (said if len(said) < 200 else f"{said[:60]} … {said[-140:]}") + _at(entry)
    return found


def _at(entry: Path) -> str:
    """What it waits for and what it has open, since it is gone by the time somebody looks."""
    try:
        files = {str(link.readlink()) for link in (entry / "fd").iterdir()}
        return f" (in {(entry / 'wchan').read_text()}, with {', '.join(sorted(files))})"
    except OSError as error:  # another user's
        return f" ({error.strerror})"


def _forks() -> dict[int, str]:
    """Of a server that other test processes have as well, and that has nothing of this one's in its environment."""
    return {child.pid: child.name for child in active_children() if child.pid is not None}


def entry_is_in(entry: Path, base: Path) -> bool:
    return (entry / "cwd").readlink().is_relative_to(base)


def outlived(base: Path) -> dict[int, str]:
    """Those that have not ended by themselves within a moment; ends them, so that they trouble nobody else."""
    deadline = time.monotonic() + slowed(PATIENCE_S)
    while (left := processes_of(base) | _forks()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return left
