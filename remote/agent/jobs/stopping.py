"""Ending one job to the last process, by force if need be, and looking what is left."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

from ..base.files import Json, read_json
from ..base.machine import ask_nvidia, number
from ..base.processes import KILL_PATIENCE_S, is_supervised, job_processes, main_process, send
from .detached import settle, tend
from .endings import has_ended
from .last_words import awaits_room, leave_mark
from .rows import state_of, state_of_live

# How long a signal may take; the stop file before it has the whole grace, since a checkpoint may be on its way.
SIGNAL_PATIENCE_S = 5.0
# SIGINT is the question to a program that knows no stop file: a page ends its engine first, which takes a while.
PROGRAM_PATIENCE_S = 20.0


def end_job(directory: Path, grace_s: float) -> Json:
    """Ask by the `stop` file, then SIGINT, SIGTERM, SIGKILL over the whole tree; then look what is left.

    grace_s: how long the file may take; each signal has at most five seconds, SIGINT to a program without the file 20
    """
    seen = set(job_processes(directory))
    # One that is lost has ended: a file `stop` would have it say that it was stopped. What it left behind is ended.
    is_live = not has_ended(directory) and state_of_live(directory) is not None
    has_work = is_live or (bool(seen) and not has_ended(directory))
    how = ended_by(directory, grace_s, seen, is_live=is_live) if has_work else "had ended"
    deadline = time.monotonic() + KILL_PATIENCE_S
    while (
        is_supervised(directory)
        and not (has_ended(directory) or awaits_room(directory))
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    with suppress(OSError):  # of a full disk: how it ended is told from its events
        settle(directory)
    left = job_processes(directory)
    return {"state": state_of(directory)[0], "left": left, "how": how, **gpu_left(seen, set(left))}


def ended_by(directory: Path, grace_s: float, seen: set[int], *, is_live: bool) -> str:
    """End it; returns what it took. is_live: the job itself is there, and not only what it left behind"""
    request = read_json(directory / "request.json")
    has_file = is_live and ask_to_stop(directory)
    if request is not None:
        tend(directory)
    listens = (request or {}).get("is_engine", True) or not (directory / "state.json").exists()
    # A second SIGINT ends an engine at once: one that got it in the file's place has as long for its checkpoint.
    is_asked = has_file or (is_live and main_process(read_json(directory / "state.json")) is not None)
    patience_s = max(0.1, min(grace_s, SIGNAL_PATIENCE_S))
    asks_s = patience_s if listens else max(0.1, min(grace_s, PROGRAM_PATIENCE_S))
    steps = [
        ("stop file" if has_file else "SIGINT", None, grace_s if listens and is_asked else 0.0),
        ("SIGINT", signal.SIGINT, asks_s),
        ("SIGTERM", signal.SIGTERM, patience_s),
        ("SIGKILL", signal.SIGKILL, KILL_PATIENCE_S),
    ]
    reached = (how for how, sent, limit_s in steps if has_gone(directory, sent, limit_s, seen))
    return next(reached, "SIGKILL")


def ask_to_stop(directory: Path) -> bool:
    """Leave the file `stop`; on a disk that takes no more send SIGINT instead, which an engine answers in the same way.

    Returns whether the file is there.
    """
    try:
        leave_mark(directory, "stop")
    except OSError:
        main = main_process(read_json(directory / "state.json"))
        if main is not None:
            send([main.pid], signal.SIGINT)
        return False
    return True


def has_gone(directory: Path, number: signal.Signals | None, limit_s: float, seen: set[int]) -> bool:
    """Send a signal, and wait for the end of the job. SIGINT is for its own process, the others for the whole tree.

    seen: grows by the processes that were met
    """
    deadline, look_at = time.monotonic() + limit_s, 0.0
    while True:
        if has_ended(directory):
            return True
        if time.monotonic() >= look_at:  # a look at all processes takes some milliseconds
            look_at = time.monotonic() + (0.05 if number is signal.SIGKILL else 1.0)
            found = job_processes(directory)
            if not found and (awaits_room(directory) or not is_supervised(directory)):
                return True
            seen.update(found)
            main = main_process(read_json(directory / "state.json"))
            if number is not None:
                send([main.pid] if main and number is signal.SIGINT else found, number)
            if number is not signal.SIGKILL:
                number = None  # asked once
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def gpu_left(seen: set[int], left: set[int]) -> Json:
    """Return the job's processes that still hold GPU memory; the driver takes a moment to forget those that ended."""
    deadline = time.monotonic() + SIGNAL_PATIENCE_S
    while True:
        rows, why = ask_nvidia(["--query-compute-apps=pid,used_memory"])
        found = [row for row in rows if row and row[0].isdigit() and int(row[0]) in seen | left]
        if not found or time.monotonic() > deadline:
            holding = [{"pid": int(row[0]), "memory_used_mib": number(row[1])} for row in found]
            return {"gpu_left": holding, "gpu_checked": why is None, "why": why or ""}
        time.sleep(0.2)
