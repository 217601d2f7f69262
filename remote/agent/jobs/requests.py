"""What can be asked of jobs: start, status, stop, and requests to a running one."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..base.asked import arguments_in, expanded, job_directory, take, workspace
from ..base.elsewhere import is_elsewhere, look_anew, machine_of, this_machine
from ..base.files import ENVIRONMENT, Json, Problem, exclusive, read_json, sync_folder, write_json, write_whole
from ..base.keys import JOB_ID, place_of_key
from ..base.private import make_private, require_shut
from ..base.processes import JOB_VARIABLE, KILL_PATIENCE_S, find_program
from ..base.whose import Asker, anothers, asker, introduce
from .detached import detached, see_to, tend
from .last_words import keep_reserve, leave_mark
from .releases import with_release
from .rows import BESIDE, DETACH_TIMEOUT_S, job_row, rows_of_all, state_of
from .stopping import SIGNAL_PATIENCE_S, ask_to_stop
from .told import only_news

STOP_GRACE_S = 60.0
OF_THE_LOGIN = ("SSH_", "XDG_SESSION_", "XDG_RUNTIME_DIR", "DBUS_", "INVOCATION_ID", "JOURNAL_STREAM", JOB_VARIABLE)


def start_job(parameters: Json) -> Json:
    """Start a job. The same key is the same job, however often and from wherever it is asked for."""
    if not Path("/proc/self/stat").exists():  # a Mac: nobody could say whether the job still lives, or end all of it
        hint = "in the foreground it runs here: without --detach; or let a Linux host do it: --host NAME"
        raise Problem("asked-wrongly", "a job that goes on by itself needs Linux: there is no /proc here", hint)
    jobs = workspace(parameters) / "jobs"
    request = start_request(parameters, jobs)
    key = request["key"] or os.urandom(16).hex()
    known = place_of_key(jobs, key)
    make_private(jobs)
    known.parent.mkdir(exist_ok=True)
    introduce(jobs.parent, asker(parameters))
    with exclusive(jobs / ".lock") as lock:
        look_anew(known.parent)
        job = known.read_text() if known.exists() else free_job_id(jobs, request["verb"])
        directory = jobs / job
        is_new = not (directory / "request.json").exists()
        if is_new:
            # The key first: if all ends here, who asks again gets the same job, and nobody else sees half of it.
            write_whole(known, job)
            request["argv"] = request["argv"] or [*request["python"], "-m", "t2v_core", request["verb"], str(directory)]
            spec = take(parameters, "spec", dict, {})
            make_directory(directory, spec, {**request, "queued_t": next_time(lock)})
    see_to(directory)
    return {"job": job, "is_new": is_new, "state": state_of(directory)[0]}


def make_directory(directory: Path, spec: Json, request: Json) -> None:
    """Make it under another name until all of it is there: half a job would be shown as one that was lost."""
    partial = directory.with_name(f".partial-{directory.name}")
    for left in (partial, directory):  # by one that was killed, and by one of an earlier version
        remove_folder(left)
    try:
        partial.mkdir(mode=0o700)
        keep_reserve(partial)
        write_json(partial / "spec.json", spec)
        write_json(partial / ENVIRONMENT, login_environment(), mode=0o600)
        write_json(partial / "request.json", request)
        partial.rename(directory)
        sync_folder(directory.parent)
    except OSError:  # of a full disk
        remove_folder(partial)
        raise


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; what cannot be removed stays."""
    if folder.exists():
        import shutil  # whoever starts a job waits for what is imported

        shutil.rmtree(folder, ignore_errors=True)


def start_request(parameters: Json, jobs: Path) -> Json:
    """Return what `request.json` will say. Raises Problem when it cannot be meant."""
    verb, environment = take(parameters, "verb", str), take(parameters, "env", dict, {})
    python, argv = (arguments_in(take(parameters, name, list, []), name) for name in ("python", "argv"))
    arguments_in([*environment, *environment.values()], "env")
    if not JOB_ID.fullmatch(verb):
        raise Problem("asked-wrongly", f"{verb!r} is not a verb")
    if not argv and not python:
        raise Problem("asked-wrongly", "neither python nor argv says what to start")
    python, argv = ([str(expanded(words[0])), *words[1:]] if words else [] for words in (python, argv))
    require_shut(jobs.parent, (argv or python)[0])
    if not argv and find_program(python[0]) is None:
        raise Problem("not-found", f"there is no Python {python[0]} on this host", "make it ready: t2v bootstrap")
    after = take(parameters, "after", str, None)
    if after is not None and not (JOB_ID.fullmatch(after) and (jobs / after).is_dir()):
        raise Problem("not-found", f"there is no job {after!r} to wait for", "t2v jobs lists them")
    needs_gpu, key = take(parameters, "needs_gpu", bool, False), take(parameters, "key", str, None)
    by = asker(parameters)
    environment = with_release(environment, jobs.parent, take(parameters, "release", str, None))
    wanted = {"key": key, "verb": verb, "argv": argv, "python": python, "env": environment, "machine": this_machine()}
    return {**wanted, "needs_gpu": needs_gpu, "after": after, "is_engine": not argv, "by": by._asdict()}


def login_environment() -> dict[str, str]:
    """Return what a login has and a unit of systemd has not, less what ends with the login.

    Examples are what `/etc/environment` sets, proxies, LANG.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_LOGIN)}


def free_job_id(jobs: Path, verb: str) -> str:
    """Draw a job id that is free: two of one second may get the same four digits."""
    job = new_job_id(verb)
    while (jobs / job).exists():
        job = new_job_id(verb)
    return job


def new_job_id(verb: str) -> str:
    """Draw an id as t2v_core.workspace.new_job_id does."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{verb}-{os.urandom(2).hex()}"


def next_time(lock: int) -> float:
    """Return the time now, but always later than the one given before it, also when the clock was set back."""
    before = float(os.pread(lock, 64, 0) or 0)
    now = max(time.time(), before + 1e-6)
    os.pwrite(lock, f"{now:.6f}\n".encode(), 0)
    return round(now, 6)


def status(parameters: Json) -> Json:
    """Return the rows of the jobs that are asked for, or of all, each looked after meanwhile.

    known: the tag of the last reply about all; then only the rows that read differently since
    """
    asked, by = take(parameters, "jobs", list, None), asker(parameters)
    if asked is None:
        root = workspace(parameters)
        rows = [row_for(row, by) for row in rows_of_all(root / "jobs", tend)]
        return {**only_news(f"{root} {by.id}", rows, take(parameters, "known", str, "")), "time": time.time()}
    directories = [job_directory({**parameters, "job": job}) for job in asked]
    for directory in directories:
        if (directory / "request.json").exists():
            tend(directory)
    return {"jobs": [row_for(row, by) for row in map(job_row, directories)], "time": time.time()}


def row_for(row: Json, by: Asker) -> Json:
    """Return a row as the asker hears it: with the workspace that the job is of, where that is another."""
    name = anothers(row["by"], by)
    return {**row, "of": name} if name else row


def require_own(directory: Path, parameters: Json) -> None:
    """Raise Problem for a job that another workspace began, unless anyone's is meant."""
    name = anothers((read_json(directory / "request.json") or {}).get("by"), asker(parameters))
    if name and not take(parameters, "is_anyones", bool, False):
        raise Problem(
            "asked-wrongly", f"job {directory.name} was begun from {name}",
            f"end it there; from here: t2v stop {directory.name} --anyones",
        )  # fmt: skip


def require_here(directory: Path) -> None:
    """Raise Problem for a job that goes on on another machine: of its processes none is seen here."""
    if is_elsewhere(directory) and state_of(directory)[0] in ("queued", "starting", "running"):
        where = machine_of(directory).get("name") or "another machine"
        sentence = f"job {directory.name} is one of {where}, which sees this folder as well"
        raise Problem("asked-wrongly", sentence, "stop it there: t2v stop, with --host for that machine")


def stop(parameters: Json) -> Json:
    """Stop a job by a process of its own, so that it is carried through when the link is lost meanwhile."""
    grace_s = float(take(parameters, "grace_s", float, STOP_GRACE_S))
    directory = job_directory(parameters)
    require_own(directory, parameters)
    require_here(directory)
    limit_s = grace_s + 2 * SIGNAL_PATIENCE_S + 4 * KILL_PATIENCE_S + DETACH_TIMEOUT_S
    ended = detached("end", {"directory": str(directory), "grace_s": grace_s}, timeout_s=limit_s)
    if ended.get("state") == "queued" and not (directory / "stop").exists():
        sentence = f"job {directory.name} waits on: its disk takes no note that it is to stop"
        raise Problem("failed", sentence, "make room there, and stop it again")
    return ended


def leave_request(parameters: Json) -> Json:
    """Leave a file in the job's directory, which the engine answers within a step; `resume` takes `pause` away.

    `beside` is for its supervisor: the job no longer waits for its turn at the GPU.
    """
    directory, what = job_directory(parameters), take(parameters, "what", str)
    if what not in ("stop", "save", "pause", "resume", BESIDE):
        raise Problem("asked-wrongly", f"{what!r} is not one of stop, save, pause, resume, beside")
    require_own(directory, parameters)
    word = state_of(directory)[0]
    if word not in ("queued", "starting", "running"):
        raise Problem("asked-wrongly", f"job {directory.name} has ended already ({word})")
    if what == BESIDE and word != "queued":
        raise Problem("asked-wrongly", f"job {directory.name} has begun already and waits for nothing")
    if what == "resume":
        (directory / "pause").unlink(missing_ok=True)
    elif what == "stop":
        ask_to_stop(directory)
    else:
        leave_mark(directory, what)
    return {"state": word}
