"""Which processes belong to a job, whether the one that was started is still the one that lives, and in which boot."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .files import Json, read_json

KILL_PATIENCE_S = 10.0
# Whoever has this in its environment belongs to that job; supervisors are nobody's.
JOB_VARIABLE, NOBODY = "T2V_JOB", "-"
PROC = Path("/proc")
BOOT_ID_FILE = Path(os.environ.get("T2V_BOOT_ID_FILE", "/proc/sys/kernel/random/boot_id"))


def is_supervised(directory: Path) -> bool:
    """Tell whether a process holds the lock in a directory.

    A shared lock does not fit beside the supervisor's; two who ask at the same time do not see each other.
    """
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Process(NamedTuple):
    """One line of the process table; a pid with its start time is never reused within a boot."""

    pid: int
    parent: int
    group: int
    session: int
    start_ticks: int


def process(pid: int) -> Process | None:
    """Return a process; None when it is gone, or only its exit code is left."""
    try:
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def boot_id() -> str | None:
    """Return the id of this boot; None where the system has none."""
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return None


def up_s() -> float:
    """Return the seconds since boot, on Linux with those asleep. Nobody sets them, and a restart begins them anew."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def this_moment() -> Json:
    """Return now as files keep it, whatever the wall clock is set to meanwhile."""
    return {"boot_id": boot_id(), "up_s": up_s()}


def named_job(pid: int) -> str | None:
    """Return the job in the environment that a process was started with; None for none."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    mark = JOB_VARIABLE.encode() + b"="
    found = next((item for item in environment.split(b"\0") if item.startswith(mark)), None)
    return None if found is None else found[len(mark) :].decode(errors="replace")


def main_process(state: Json | None) -> Process | None:
    """Return the job's own process if it is alive.

    Alive means the same boot, same pid, same start time (or, without one, same arguments).
    """
    if not state or "pid" not in state or state.get("boot_id") != boot_id():
        return None
    found = process(int(state["pid"]))
    if found is None:
        return None
    if "start_ticks" in state:
        return found if found.start_ticks == state["start_ticks"] else None
    with suppress(OSError):
        arguments = (PROC / str(found.pid) / "cmdline").read_bytes().split(b"\0")[:-1]
        return found if arguments == [os.fsencode(part) for part in state.get("argv", [])] else None
    return None


def has_own_supervisor(directory: Path, state: Json) -> bool:
    """Return True while the supervisor that began a job is there.

    The one that began it knows best how it ended, and is about to say so.

    One that took it over knows what everybody does, its events, and so does whoever else holds the lock for a moment.
    """
    is_own = state.get("boot_id") == boot_id() and "supervisor" in state and not state.get("is_taken_over")
    return is_own and is_supervised(directory) and process(int(state["supervisor"])) is not None


def job_processes(directory: Path) -> list[int]:
    """Return everything alive that belongs to a job: its session and group, who names it, who descends from either.

    A child that forks twice and calls setsid keeps the job in its environment, or falls to the supervisor, which is a
    subreaper. Jobs that were started from within this one are jobs of their own.
    """
    state = read_json(directory / "state.json") or {}
    own: set[int] = set()
    others: list[Process] = []
    for entry in PROC.glob("[0-9]*"):  # nothing, not an error, where there is no /proc
        one = process(int(entry.name))
        if one is None or one.pid == os.getpid():
            continue
        job = named_job(one.pid)
        if job == directory.name:
            own.add(one.pid)
        elif job is None:
            others.append(one)
    leader = int(state.get("pid", 0)) if state.get("boot_id") == boot_id() else 0
    if main_process(state) or (leader and process(leader) is None):  # else the number is somebody else's by now
        own |= {one.pid for one in others if leader in (one.pid, one.group, one.session)}
    parents = own | ({int(state["supervisor"])} if "supervisor" in state and is_supervised(directory) else set())
    while True:
        more = {one.pid for one in others if one.parent in parents} - own
        if not more:
            return sorted(own)
        own |= more
        parents |= more


def libc() -> Any:
    """Load the C library of this process."""
    import ctypes  # whoever starts a job waits for what is imported; as below

    return ctypes.CDLL(None)


def forked(work: Callable[[], NoReturn]) -> int:
    """Fork a child that does `work`, which ends it; returns its number."""
    pid = os.fork()
    if pid == 0:
        work()
    return pid


def find_program(name: str, path: str | None = None) -> str | None:
    """Return where a program is on the PATH, or on `path`; None for nowhere."""
    import shutil

    return shutil.which(name, path=path)


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes; those that are gone or not ours are passed over."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def oom_kills() -> Json:
    """Count what the kernel killed for want of memory, by file: of this process's memory group, else of all."""
    groups = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                groups += [f"/sys/fs/cgroup{path}/memory.events", f"/sys/fs/cgroup/unified{path}/memory.events"]
            elif "memory" in controllers.split(","):
                groups.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    for file in [*groups, "/proc/vmstat"]:
        with suppress(OSError):
            if count := re.search(r"^oom_kill (\d+)$", Path(file).read_text(), re.MULTILINE):
                return {file: int(count[1])}
    return {}


def ran_out_of_memory(before: Json) -> bool | None:
    """Return True when a count rose since `before`; None when there is nothing to count by."""
    for file, count in before.items():
        with suppress(OSError):
            if now := re.search(r"^oom_kill (\d+)$", Path(file).read_text(), re.MULTILINE):
                return int(now[1]) > int(count)
    return None


def signal_name(number: int) -> str:
    """Return a signal's name; `signal N` for one that has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
