"""How a job stands, read from its directory and the process table; and who waits before whom."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..base.elsewhere import is_elsewhere, is_heard_of, look_anew, silence_in_words
from ..base.files import Json, read_json
from ..base.keys import JOB_ID, place_of_key, resumption_key
from ..base.processes import boot_id, has_own_supervisor, is_supervised, main_process
from ..base.streams import size_of
from .alarms import seconds_without_step
from .endings import RESTARTED, START_AGAIN, STOPPED, events_in, how_it_ended, last_alarm, last_lines
from .last_words import PREEMPTED, awaits_room

# Its file in a job's directory says that the job does not wait for its turn at the GPU.
BESIDE = "beside"
MOST_NAME_BYTES = 255
# A supervisor says that it is at work within 0.1 s; on a machine that swaps it may take long.
DETACH_TIMEOUT_S = 30.0
MADE_HERE = re.compile(r"\d{8}-\d{6}-(?P<verb>[a-z0-9-]+)-[0-9a-f]+")


def state_of(directory: Path) -> tuple[str, Json]:
    """Return a job's state and the fields of an exit.

    A state is one of queued, starting, running, succeeded, failed, stopped, preempted, lost.
    """
    ended = read_json(directory / "exit.json")
    if ended is None:
        word = state_of_live(directory)
        if word is not None:
            return word, {}
        # It may have ended between the two looks, or while nobody looked.
        ended = read_json(directory / "exit.json") or how_it_ended(directory, None) or lost(directory)
    if ended["code"] == 0:
        return "succeeded", ended
    # Of one that ended under an earlier agent, or without a word, only the mark tells.
    if ended.get("is_preempted", (directory / PREEMPTED).exists()):
        return "preempted", {**ended, "reason": f"the machine was preempted; {ended['reason']}"}
    if ended["code"] is None:
        return "lost", ended
    return ("stopped" if ended["code"] in (STOPPED, 130) else "failed"), ended


def state_of_live(directory: Path, request: Json | None = None) -> str | None:
    """Return the state of a job without `exit.json`; None when nothing of it is alive.

    request: what was read of it, where it was
    """
    state, request = read_json(directory / "state.json"), request or read_json(directory / "request.json")
    is_theirs = is_elsewhere(directory, request)
    if is_theirs and not is_heard_of(directory):
        return None
    if state is None and request is not None:
        return "queued"
    if state is None:  # a job of the foreground, on its way
        return "starting" if abs(time.time() - directory.stat().st_mtime) < DETACH_TIMEOUT_S else None
    has_ended = main_process(state) is None and (not has_own_supervisor(directory, state) or awaits_room(directory))
    if has_ended and not is_theirs:
        return None
    is_engine = (request or {}).get("is_engine", True)
    return "starting" if is_engine and not size_of(directory, "events.jsonl") else "running"


def lost(directory: Path) -> Json:
    """Return the exit of a job when nothing of it is alive and nothing says how it ended."""
    state = read_json(directory / "state.json")
    reason = "its processes are gone, and nothing says how they ended" if state else "it was never started"
    if is_elsewhere(directory):
        reason = silence_in_words(directory)
    elif state and state.get("boot_id") != boot_id():
        reason = RESTARTED
    return {"code": None, "signal": None, "reason": reason, "hint": START_AGAIN, "ended": None}


def successor_of(directory: Path) -> Path:
    """Return the job that goes on with this one, if it was preempted and taken up, and so on; else this one."""
    while directory.is_dir() and state_of(directory)[0] == "preempted":
        known = place_of_key(directory.parent, resumption_key(directory.name))
        later = directory.parent / known.read_text() if known.exists() else None
        if later is None or not later.is_dir():  # its key is there a moment before it is
            break
        directory = later
    return directory


def waited_for(jobs: Path, request: Json) -> Iterator[Path]:
    """Yield the job after which a request's is to begin, or whoever goes on with it; then that one's, and so on.

    Each comes once, and a name that no job has ends it, whatever a damaged file says.
    """
    seen: set[Path] = set()
    while JOB_ID.fullmatch(after := str(request.get("after") or "")) and len(after) <= MOST_NAME_BYTES:
        first = successor_of(jobs / after)
        if first in seen or not first.is_dir():
            return
        seen.add(first)
        yield first
        request = read_json(first / "request.json") or {}


def waits_for(request: Json, directory: Path) -> bool:
    """Tell whether the job of a request is to begin after this one has succeeded, or after one that is."""
    return directory in waited_for(directory.parent, request)


class EndedRow(NamedTuple):
    """What was read of a job that has ended. written_ns: its `exit.json`; place: by which jobs are sorted"""

    written_ns: int
    place: tuple[float, str]
    row: Json


ENDED_ROWS: dict[str, EndedRow] = {}


def job_row(directory: Path) -> Json:
    """Return what `status` says of a job. Of one that has ended it is read once: a screen asks every second."""
    known = known_end(str(directory))
    if known is not None:
        return known.row
    try:
        written_ns = (directory / "exit.json").stat().st_mtime_ns
    except OSError:
        look_anew(directory)
        return fresh_row(directory)
    row = fresh_row(directory)
    ENDED_ROWS[str(directory)] = EndedRow(written_ns, place_of(directory), row)
    return row


def known_end(directory: str) -> EndedRow | None:
    """Return what was read of a job that has ended, while its `exit.json` is as it was."""
    known = ENDED_ROWS.get(directory)
    try:
        is_so = known is not None and os.stat(f"{directory}/exit.json").st_mtime_ns == known.written_ns  # noqa: PTH116 - hundreds of texts are looked at
    except OSError:
        return None
    return known if is_so else None


def rows_of_all(jobs: Path, look_after: Callable[[Path], None]) -> list[Json]:
    """Return the rows of all jobs, oldest first; those that have not ended are looked after before.

    Of one that had ended nothing is read again: of 500 that takes 2 ms, and it was 20.
    """
    placed, others = [], []
    for path in job_paths(jobs):
        known = known_end(path)
        if known is not None:
            placed.append((known.place, known.row))
        elif is_job(Path(path)):
            others.append(Path(path))
    for directory in others:
        if (directory / "request.json").exists():
            look_after(directory)
    placed += [(place_of(directory), job_row(directory)) for directory in others]
    return [row for _, row in sorted(placed, key=lambda one: one[0])]


def job_paths(jobs: Path) -> list[str]:
    """Return the folders in `jobs/` whose names are those of jobs, in no particular order."""
    with suppress(OSError), os.scandir(jobs) as entries:
        return [entry.path for entry in entries if JOB_ID.fullmatch(entry.name) and entry.is_dir()]
    return []


def is_job(directory: Path) -> bool:
    """Tell whether a folder is a job's: one that is being made is not yet."""
    return (directory / "request.json").exists() or (directory / "spec.json").exists()


def fresh_row(directory: Path) -> Json:
    """Return a job's row, read anew from its directory."""
    request, state = read_json(directory / "request.json") or {}, read_json(directory / "state.json") or {}
    word, ended = state_of(directory)
    named = MADE_HERE.fullmatch(directory.name)
    lines = last_lines(directory)
    without_step_s = seconds_without_step(events_in(lines), time.time()) if word == "running" else None
    return {
        "job": directory.name,
        "by": request.get("by"),
        "verb": request.get("verb") or (named["verb"] if named else ""),
        "state": word,
        "code": ended.get("code"),
        "signal": ended.get("signal"),
        "reason": ended.get("reason", ""),
        "hint": ended.get("hint", ""),
        "queued_t": request.get("queued_t"),
        "started_t": state.get("started"),
        "ended_t": ended.get("ended"),
        "pid": state.get("pid"),
        "place_in_queue": place_in_queue(directory, request) if word == "queued" else None,
        "needs_gpu": bool(request.get("needs_gpu", False)),
        "after": request.get("after"),
        "log_bytes": size_of(directory, "log"),
        "events_bytes": size_of(directory, "events.jsonl"),
        "last_event": next((one for one in events_in(lines) if one.get("kind") != "alarm"), None),
        "alarm": last_alarm(lines),
        "without_step_s": None if without_step_s is None else round(without_step_s),
        "supervised": word in ("queued", "starting", "running") and is_supervised(directory),
        "of": "",
    }


def place_in_queue(directory: Path, request: Json) -> int:
    """Return its place, where 1 is next. A job that needs no GPU, or runs beside others, waits for no other's turn."""
    is_in_line = request.get("needs_gpu") and not (directory / BESIDE).exists()
    return 1 + (len(earlier_gpu_jobs(directory, request, waiting=True)) if is_in_line else 0)


def place_of(directory: Path, request: Json | None = None) -> tuple[float, str]:
    """Return what jobs are sorted by, the oldest first: when it was asked for, and its name.

    Jobs of the foreground have no request, and stand where their folder was made.

    request: what was read of it, where it was
    """
    said = (request or read_json(directory / "request.json") or {}).get("queued_t")
    return float(said) if isinstance(said, (int, float)) else directory.stat().st_mtime, directory.name


def job_directories(jobs: Path) -> list[Path]:
    """Return the directories of all jobs, oldest first."""
    return sorted(filter(is_job, map(Path, job_paths(jobs))), key=place_of)


def turn_of(directory: Path, request: Json) -> tuple[tuple[float, str], ...]:
    """Return what jobs take their turns by, the smallest first: one that waits for another comes after it.

    That is so from the start, but for a training that goes on with one: it is asked for last. Whoever waits for it is
    then behind it, and holds up nobody who is before it.
    """
    turn: tuple[tuple[float, str], ...] = ()
    for job in reversed(list(waited_for(directory.parent, request))):
        own = (place_of(job),)
        turn = max(own, turn + own)
    mine = (place_of(directory, request),)
    return max(mine, turn + mine)


def earlier_gpu_jobs(directory: Path, mine: Json, *, waiting: bool) -> list[Path]:
    """Return jobs that need the GPU, have their turn before this one and have not ended.

    mine: this one's request; waiting: only those that wait as well
    """
    turn, found = turn_of(directory, mine), []
    for name in os.listdir(directory.parent):  # noqa: PTH208 - of hundreds most have ended, and this is often asked
        if not JOB_ID.fullmatch(name) or os.path.exists(f"{directory.parent}/{name}/exit.json"):  # noqa: PTH110
            continue
        other = directory.parent / name
        request = read_json(other / "request.json")
        if is_elsewhere(other, request):  # it has GPUs of its own, and may be waiting for this very job
            continue
        if request and request.get("needs_gpu") and turn_of(other, request) < turn:
            word = state_of_live(other, request)
            if word is None and is_supervised(other) and not awaits_room(other):
                word = "ending"  # what it left behind may still hold the GPU's memory
            if word == "queued" or (word is not None and not waiting):
                found.append(other)
    return found
