"""How a job stands, read from its directory and the process table; and who waits before whom."""

from __future__ import annotations

import re
import time
from pathlib import Path

from .endings import STOPPED, how_it_ended, last_events
from .files import Json, read_json
from .processes import boot_id, is_supervised, main_process
from .streams import size_of

# A supervisor says that it is at work within 0.1 s; on a machine that swaps it may take long.
DETACH_TIMEOUT_S = 30.0
JOB_ID = re.compile(r"[a-z0-9-]+")
MADE_HERE = re.compile(r"\d{8}-\d{6}-(?P<verb>[a-z0-9-]+)-[0-9a-f]+")


def state_of(directory: Path) -> tuple[str, Json]:
    """One of queued, starting, running, succeeded, failed, stopped, preempted, lost; and the fields of an exit."""
    ended = read_json(directory / "exit.json")
    if ended is None:
        word = state_of_live(directory)
        if word is not None:
            return word, {}
        # It may have ended between the two looks, or while nobody looked.
        ended = read_json(directory / "exit.json") or how_it_ended(directory, None) or lost(directory)
    if ended["code"] == 0:
        return "succeeded", ended
    if (directory / "preempted").exists():
        return "preempted", {**ended, "reason": f"the machine was preempted; {ended['reason']}"}
    if ended["code"] is None:
        return "lost", ended
    return ("stopped" if ended["code"] in (STOPPED, 130) else "failed"), ended


def state_of_live(directory: Path) -> str | None:
    """The state of a job without `exit.json`; None when nothing of it is alive."""
    state, request = read_json(directory / "state.json"), read_json(directory / "request.json")
    if state is None and request is not None:
        return "queued"
    if state is None:  # a job of the foreground, on its way
        return "starting" if time.time() - directory.stat().st_mtime < DETACH_TIMEOUT_S else None
    if main_process(state) is None and not (is_supervised(directory) and state.get("boot_id") == boot_id()):
        return None
    is_engine = (request or {}).get("is_engine", True)
    return "starting" if is_engine and not size_of(directory, "events.jsonl") else "running"


def lost(directory: Path) -> Json:
    """Nothing of it is alive and nothing says how it ended."""
    state = read_json(directory / "state.json")
    reason = "its processes are gone and left no word how they ended" if state else "it was never started"
    if state and state.get("boot_id") != boot_id():
        reason = "the machine restarted while it ran"
    hint = "what it wrote by then is kept; start it again"
    return {"code": None, "signal": None, "reason": reason, "hint": hint, "ended": None}


ENDED_ROWS: dict[Path, tuple[int, Json]] = {}


def job_row(directory: Path) -> Json:
    """What `status` says of a job. Of one that has ended it is read once: a screen asks every second."""
    try:
        ended_at = (directory / "exit.json").stat().st_mtime_ns
    except OSError:
        return fresh_row(directory)
    known = ENDED_ROWS.get(directory)
    if known is None or known[0] != ended_at:
        known = ENDED_ROWS[directory] = (ended_at, fresh_row(directory))
    return known[1]


def fresh_row(directory: Path) -> Json:
    request, state = read_json(directory / "request.json") or {}, read_json(directory / "state.json") or {}
    word, ended = state_of(directory)
    named = MADE_HERE.fullmatch(directory.name)
    return {
        "job": directory.name,
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
        "last_event": next(last_events(directory), None),
        "supervised": word in ("queued", "starting", "running") and is_supervised(directory),
    }


def place_in_queue(directory: Path, request: Json) -> int:
    """1 is next. A job that needs no GPU waits for no other's turn."""
    return 1 + (len(earlier_gpu_jobs(directory, waiting=True)) if request.get("needs_gpu") else 0)


def queued_t(directory: Path) -> float:
    """Its place in time; jobs of the foreground have no request, and stand where their folder was made."""
    request = read_json(directory / "request.json")
    return float(request["queued_t"]) if request else (directory / "spec.json").stat().st_mtime


def job_directories(jobs: Path) -> list[Path]:
    """Oldest first."""
    if not jobs.is_dir():
        return []
    found = [entry for entry in jobs.iterdir() if JOB_ID.fullmatch(entry.name) and entry.is_dir()]
    made = [entry for entry in found if (entry / "request.json").exists() or (entry / "spec.json").exists()]
    return sorted(made, key=lambda entry: (queued_t(entry), entry.name))


def earlier_gpu_jobs(directory: Path, *, waiting: bool) -> list[Path]:
    """Jobs that need the GPU, were asked for before this one and have not ended.

    waiting: only those that wait as well
    """
    mine, found = queued_t(directory), []
    for other in directory.parent.iterdir():
        if not JOB_ID.fullmatch(other.name) or other == directory or (other / "exit.json").exists():
            continue
        request = read_json(other / "request.json")
        if request and request.get("needs_gpu") and (request["queued_t"], other.name) < (mine, directory.name):
            word = state_of_live(other)
            if word == "queued" or (word is not None and not waiting):
                found.append(other)
    return found
