"""What can be asked of jobs: start, status, stop, and requests to a running one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .asked import arguments_in, expanded, job_directory, take, workspace
from .detached import detached, tend
from .files import Json, Problem, exclusive, write_json, write_whole
from .processes import KILL_PATIENCE_S, find_program
from .releases import with_release
from .rows import DETACH_TIMEOUT_S, JOB_ID, job_directories, job_row, state_of
from .stopping import SIGNAL_PATIENCE_S
from .succession import place_of_key

STOP_GRACE_S = 60.0


def start(parameters: Json) -> Json:
    """The same key is the same job, however often and from wherever it is asked for."""
    jobs = workspace(parameters) / "jobs"
    request = start_request(parameters, jobs)
    key = request["key"] or os.urandom(16).hex()
    known = place_of_key(jobs, key)
    known.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(jobs / ".lock") as lock:
        job = known.read_text() if known.exists() else new_job_id(request["verb"])
        directory = jobs / job
        is_new = not (directory / "request.json").exists()
        if is_new:
            # The key first: if all ends here, who asks again gets the same job, and nobody else sees half of it.
            write_whole(known, job)
            directory.mkdir(exist_ok=True)
            request["argv"] = request["argv"] or [*request["python"], "-m", "t2v_core", request["verb"], str(directory)]
            write_json(directory / "spec.json", take(parameters, "spec", dict, {}))
            write_json(directory / "request.json", {**request, "queued_t": next_time(lock)})
    tend(directory)
    return {"job": job, "is_new": is_new, "state": state_of(directory)[0]}


def start_request(parameters: Json, jobs: Path) -> Json:
    """What `request.json` will say. Raises Problem when it cannot be meant."""
    verb, environment = take(parameters, "verb", str), take(parameters, "env", dict, {})
    python, argv = (arguments_in(take(parameters, name, list, []), name) for name in ("python", "argv"))
    arguments_in([*environment, *environment.values()], "env")
    if not JOB_ID.fullmatch(verb):
        raise Problem("asked-wrongly", f"{verb!r} is no verb")
    if not argv and not python:
        raise Problem("asked-wrongly", "neither python nor argv says what to start")
    python = [str(expanded(python[0])), *python[1:]] if python else []
    if not argv and find_program(python[0]) is None:
        raise Problem("not-found", f"there is no Python {python[0]} on this host", "make it ready: t2v bootstrap")
    after = take(parameters, "after", str, None)
    if after is not None and not (JOB_ID.fullmatch(after) and (jobs / after).is_dir()):
        raise Problem("not-found", f"there is no job {after!r} to wait for", "t2v jobs lists them")
    needs_gpu, key = take(parameters, "needs_gpu", bool, False), take(parameters, "key", str, None)
    environment = with_release(environment, jobs.parent, take(parameters, "release", str, None))
    wanted = {"key": key, "verb": verb, "argv": argv, "python": python, "env": environment}
    return {**wanted, "needs_gpu": needs_gpu, "after": after, "is_engine": not argv}


def new_job_id(verb: str) -> str:
    """As t2v_core.workspace.new_job_id."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{verb}-{os.urandom(2).hex()}"


def next_time(lock: int) -> float:
    """Now, but always later than the time given before it, also when the clock was set back."""
    before = float(os.pread(lock, 64, 0) or 0)
    now = max(time.time(), before + 1e-6)
    os.pwrite(lock, f"{now:.6f}\n".encode(), 0)
    return round(now, 6)


def status(parameters: Json) -> Json:
    asked = take(parameters, "jobs", list, None)
    if asked is None:
        directories = job_directories(workspace(parameters) / "jobs")
    else:
        directories = [job_directory({**parameters, "job": job}) for job in asked]
    for directory in directories:
        if (directory / "request.json").exists():
            tend(directory)
    return {"jobs": [job_row(directory) for directory in directories], "time": time.time()}


def stop(parameters: Json) -> Json:
    """Its own process carries it out, so that it is carried through when the link is lost meanwhile."""
    grace_s = float(take(parameters, "grace_s", float, STOP_GRACE_S))
    directory = job_directory(parameters)
    limit_s = grace_s + 2 * SIGNAL_PATIENCE_S + 4 * KILL_PATIENCE_S + DETACH_TIMEOUT_S
    return detached("end", {"directory": str(directory), "grace_s": grace_s}, timeout_s=limit_s)


def leave_request(parameters: Json) -> Json:
    """Leave a file in the job's directory, which the engine answers within a step; `resume` takes `pause` away."""
    directory, what = job_directory(parameters), take(parameters, "what", str)
    if what not in ("stop", "save", "pause", "resume"):
        raise Problem("asked-wrongly", f"{what!r} is none of stop, save, pause, resume")
    word = state_of(directory)[0]
    if word not in ("queued", "starting", "running"):
        raise Problem("asked-wrongly", f"job {directory.name} has ended already ({word})")
    if what == "resume":
        (directory / "pause").unlink(missing_ok=True)
    else:
        write_whole(directory / what, "")
    return {"state": word}
