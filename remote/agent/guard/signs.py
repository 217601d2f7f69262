"""Signs that a machine is at work: jobs, their queue and set-up, transfers, SSH sessions, GPUs.

Watching is no work: a screen that only looks at jobs and GPUs does not keep a machine alive, it shows the countdown.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..base.elsewhere import is_elsewhere
from ..base.files import Json, Problem, read_json
from ..base.machine import NO_NVIDIA_SMI, gpu_sample
from ..base.plain_json import read_bytes, table
from ..base.processes import NOBODY, boot_id, named_job, process, up_s
from ..jobs.detached import tend
from ..jobs.rows import MADE_HERE, job_directories, state_of_live
from .busy import MOMENT_BYTES, busy_folders
from .records import is_number
from .rules import EVERY_S, LONGEST_GAP_S, GuardMemory

# Something that leaves the time of its last use counts for so long after it, and longer where a look was killed: no use
# between two looks is overseen.
FRESH_S = max(10.0, 1.5 * min(EVERY_S, 60.0))
TERMINALS, PROC = Path(os.environ.get("T2V_TERMINALS", "/dev")), Path(os.environ.get("T2V_PROC", "/proc"))
JUST_ENDED = "has just ended"
SET_UP_VERB = "bootstrap"
# `sshd: me@pts/0`, `sshd-session: me@pts/0,pts/1`, `sshd: me@notty`: so sshd shows who is logged in. One connection may
# carry several sessions, and one without a terminal does not show beside others. Its own half is `me [priv]`.
SSH_SESSION = re.compile(r"sshd(?:-session)?: (?P<user>[^ ]+)@(?P<terminals>[^ @]+)\s*")
AGENT_MARK = b"t2v_agent"


def time_to_see(before: GuardMemory | None) -> float:
    """Return for how many seconds a look looks back: to the one before, and a little further."""
    since_s = 0.0 if before is None or before.boot_id != boot_id() else up_s() - before.looked_s
    return max(FRESH_S, min(since_s, LONGEST_GAP_S))


def job_signs(workspaces: Iterable[Path], fresh_s: float = FRESH_S) -> list[str]:
    """Name the jobs that have not ended, or have in the last seconds: one may begin and end between two looks.

    Each is looked after meanwhile, so that a queue goes on without anybody who asks.
    """
    found = []
    for root in workspaces:
        with suppress(FileNotFoundError, NotADirectoryError):
            (root / "jobs").stat()  # what is there and cannot be looked at is an error, and no end of its jobs
            for directory in job_directories(root / "jobs"):
                word = None if is_elsewhere(directory) else tended(directory, fresh_s)
                if word is not None:
                    named = MADE_HERE.fullmatch(directory.name)
                    kind = "set-up" if named and named["verb"] == SET_UP_VERB else "job"
                    found.append(f"{kind} {directory.name} {word}")
    return found


def tended(directory: Path, fresh_s: float) -> str | None:
    """Return how a job stands that has not ended, or just now; None also of one whose files make no sense.

    What of such a one is alive is seen among the processes; a full disk may keep a queue from going on, and not this.
    """
    if (directory / "exit.json").exists():
        return JUST_ENDED if has_just_ended(directory, fresh_s) else None
    try:
        with suppress(OSError, Problem):
            if (directory / "request.json").exists():
                tend(directory)
        word = None if (directory / "exit.json").exists() else state_of_live(directory)
        return JUST_ENDED if has_just_ended(directory, fresh_s) else f"is {word}" if word is not None else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def has_just_ended(directory: Path, fresh_s: float) -> bool:
    """Tell by when its end was written down: whoever reads of it does not keep the machine."""
    return is_of_just_now(directory / "exit.json", read_json(directory / "exit.json"), fresh_s)


def process_signs(known: Sequence[str]) -> list[str]:
    """Name work of workspaces that nobody told of, and of other people.

    Jobs are known by their environment, engines by their name.

    known: what `job_signs` said, whose jobs are not named twice
    """
    jobs, engines = set(), 0
    for pid in pids():
        job = named_job(pid)
        if job not in (None, NOBODY):
            jobs.add(job)
        elif job is None and b"t2v_core" in command_line(pid).split(b"\0")[1:4]:
            engines += 1
    missing = sorted(job for job in jobs if job and not any(f" {job} " in sign for sign in known))
    return [f"job {job} is running" for job in missing] + (["an engine is running"] if engines else [])


def transfer_signs(fresh_s: float = FRESH_S) -> list[str]:
    """Find transfers by the marks that conversations leave while bytes move.

    Marks of processes that are gone are removed.
    """
    found = []
    for mark in [mark for folder in busy_folders() for mark in folder.glob("*")]:
        if not mark.name.isdecimal() or process(int(mark.name)) is None:
            with suppress(OSError):  # a disk that is read-only, say
                mark.unlink(missing_ok=True)
        elif is_of_just_now(mark, moment_in(mark), fresh_s):
            found.append("a transfer, or a request, of a moment ago")
    return found[:1]


class SessionSigns(NamedTuple):
    """The SSH sessions that are used, in words, and the stamps of the terminals of all; None where none were kept."""

    busy: list[str]
    stamps: Mapping[str, float] | None


def session_signs(before: Mapping[str, float] | None) -> SessionSigns:
    """Return which SSH sessions are used.

    A terminal is used when it had input or output since the look before. A laptop that was shut leaves its session
    behind for hours: a terminal in which nothing happens does not count. Nor does a connection that carries only
    conversations with this agent; those that move bytes leave marks.

    before: the stamps of the look before; None when there was none that kept them
    """
    found: list[str] = []
    stamps: dict[str, float] = {}
    for pid in pids():
        title = SSH_SESSION.fullmatch(command_line(pid).rstrip(b"\0").decode(errors="replace"))
        if title is None:
            continue
        for name in title["terminals"].split(","):
            stamp = None if name == "notty" else stamp_of(TERMINALS / name)
            if stamp is not None:
                stamps[name] = stamp
                is_used = is_fresh(stamp) if before is None else before.get(name) != stamp
                found += [f"{title['user']} is at work in {name} over SSH"] if is_used else []
        commands = [one for one in children(pid) if not has_terminal(one) and AGENT_MARK not in command_line(one)]
        found += [f"{title['user']} runs a command over SSH"] if commands else []
    return SessionSigns(sorted(set(found)), stamps)


def gpu_signs(more_than_percent: float) -> tuple[list[str], list[str]]:
    """Return (busy, unknown). A machine without nvidia-smi has no GPU that could be at work."""
    gpus, why = gpu_sample()
    if why == NO_NVIDIA_SMI:
        return [], []
    if why or not gpus:
        return [], [why or "nvidia-smi shows no GPU"]
    busy, unknown = [], []
    for gpu in gpus:
        percent = gpu["utilization_percent"]
        if percent is None:
            unknown.append(f"GPU {gpu['index']} does not say how busy it is")
        elif percent > more_than_percent:
            busy.append(f"GPU {gpu['index']} is at {percent:g} %")
    return busy, unknown


def stamp_of(terminal: Path) -> float | None:
    """Return the time of a terminal's last use, which the kernel keeps to 8 s by the wall clock; None for none."""
    try:
        status = terminal.stat()
    except OSError:
        return None
    return max(status.st_atime, status.st_mtime)


def moment_in(mark: Path) -> Json | None:
    """Return what a mark says; None of one that says nothing."""
    try:
        return table(read_bytes(mark, MOMENT_BYTES))
    except (OSError, ValueError):
        return None


def is_of_just_now(path: Path, said: Json | None, fresh_s: float) -> bool:
    """Tell whether a file is of the last moments, by the time since boot that it keeps.

    One that an earlier t2v wrote keeps none, nor does a mark of which a full disk took nothing: their own time counts.
    """
    if said is not None and "boot_id" in said and is_number(said.get("up_s")):
        return said["boot_id"] == boot_id() and 0 <= up_s() - said["up_s"] <= fresh_s
    try:
        return is_fresh(path.stat().st_mtime, fresh_s)
    except OSError:
        return False


def is_fresh(stamp: float, fresh_s: float = FRESH_S) -> bool:
    """Tell whether a time is of the last moments by the wall clock: when that is set, one look is wrong."""
    return abs(time.time() - stamp) <= fresh_s


def pids() -> list[int]:
    """Return the number of every process. Raises OSError where there is no process table."""
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208 - names are wanted


def command_line(pid: int) -> bytes:
    """Return a process's arguments, each ended by NUL; empty when it is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def children(pid: int) -> list[int]:
    """Return the numbers of a process's own children."""
    return [one.pid for one in map(process, pids()) if one is not None and one.parent == pid]


def has_terminal(pid: int) -> bool:
    """Tell whether a process has a terminal; True also when it is gone."""
    try:
        return (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[4] != b"0"
    except OSError:
        return True  # it is gone: nothing that runs without one
