"""The agent's modes, each started by a constant command line.

serve       requests as JSON lines on stdin, answers on stdout; ends with its stdin, while jobs go on
follow      the bytes of a job's log and events from an offset on, as frames
metrics     GPU, CPU, memory and disk every few seconds
send        ranges of files, as they are asked for
receive     ranges of files that are pushed here
supervise   started by `serve`, detached: waits for its turn, runs one job, writes `exit.json` last
guard-look  run by a timer: looks whether the machine is idle, and powers it off when it has been
guard-watch the same every minute, detached, where there is no systemd
end         started by `serve`, detached: stops one job, by force if need be, even when the link is lost meanwhile
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .base.asked import take
from .base.files import Json, Problem
from .base.machine import gpu_sample, metrics
from .base.wire import beat, described, greeting, say_line
from .guard.timer import guard_look, guard_watch, install_guard, tend_guard
from .guard.watch import guard_status, keep, note
from .jobs.detached import leave_parent
from .jobs.following import follow
from .jobs.releases import use_release
from .jobs.requests import leave_request, start_job, status, stop
from .jobs.stopping import end_job
from .listing.listing import list_folder, old_data
from .listing.looking import hash_files, hello, ls, probe, read
from .listing.old_listing import old_checkpoints
from .listing.open_models import models
from .listing.previewing import preview
from .resuming import resume_preempted
from .setup.examining import examine
from .setup.making_ready import put, standing, unpack_release
from .setup.meeting import meeting, part, reach
from .setup.own_folder import adopt_venv
from .supervisor import supervise
from .transfer.landing import copy, land
from .transfer.offers import offer
from .transfer.receiving import begin, receive, remove_gone, want
from .transfer.removing import remove
from .transfer.sending import send
from .transfer.sums import sums

VERBS: dict[str, Callable[[Json], Json]] = {
    "hello": hello, "start": start_job, "status": status, "stop": stop, "request": leave_request, "ls": ls,
    "hash": hash_files, "gpu": lambda _: gpu_sample()._asdict(), "probe": probe, "read": read,
    "standing": standing, "put": put, "unpack_release": unpack_release, "use_release": use_release,
    "guard": guard_status, "keep": keep, "install_guard": install_guard, "resume_preempted": resume_preempted,
    "offer": offer, "sums": sums, "want": want, "begin": begin, "land": land, "copy": copy, "remove_gone": remove_gone,
    "remove": remove, "examine": examine, "adopt_venv": adopt_venv, "list": list_folder, "old_data": old_data,
    "old_checkpoints": old_checkpoints, "preview": preview, "models": models,
    "meeting": meeting, "reach": reach, "part": part,
}  # fmt: skip


def answer(line: bytes) -> None:
    """Carry out one request, {"id", "ask", "with"}; whatever goes wrong becomes its answer."""
    id_ = None
    try:
        asked = json.loads(line)
        id_ = asked["id"]
        verb = VERBS.get(asked["ask"])
        if verb is None:
            raise Problem("asked-wrongly", f"the agent knows no {asked['ask']!r}", f"it knows: {', '.join(VERBS)}")
        note(asked["ask"])
        say_line({"id": id_, "ok": verb(take(asked, "with", dict, {}))})
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # noqa: BLE001 - one request must not end the others
        say_line({"id": id_, "error": described(error)})


def serve() -> None:
    """Answer each request in a thread: a slow one does not hold up the others. Ends with stdin; jobs go on."""
    threading.Thread(target=beat, daemon=True).start()
    tend_guard()
    for line in sys.stdin.buffer:
        threading.Thread(target=answer, args=(line,), daemon=True).start()


def stream(mode: Callable[[Json, Callable[[Json], None]], None]) -> None:
    """Run a mode on the parameters in stdin's first line; an error is said as a line. Raises BrokenPipeError."""
    try:
        mode(json.loads(sys.stdin.buffer.readline()), say_line)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - without an answer it would be taken for a lost link, and asked for ever
        say_line({"error": described(error)})


def supervise_detached(encoded: str | None) -> None:
    """Supervise one job, detached; its parameters come on stdin unless they are given.

    encoded: the parameters when systemd started this, which is detaching enough
    """
    if encoded is None:
        parameters = json.loads(sys.stdin.buffer.readline())
        leave_parent()
    else:
        parameters = json.loads(bytes.fromhex(encoded))
    directory = Path(parameters["directory"])
    with told(directory):
        supervise(directory, say_line)


def end_detached() -> None:
    """Stop the job that stdin names, detached, and say how it went if anybody still listens."""
    parameters = json.loads(sys.stdin.buffer.readline())
    leave_parent()
    directory = Path(parameters["directory"])
    with told(directory), suppress(BrokenPipeError):  # who asked may be gone
        say_line(end_job(directory, parameters["grace_s"]))


@contextmanager
def told(directory: Path) -> Iterator[None]:
    """Write down beside the job what breaks a detached process: nobody listens to it."""
    try:
        yield
    except Exception:
        import traceback

        with suppress(OSError):
            (directory / "agent-error").write_text(traceback.format_exc())
        raise


def main(arguments: Sequence[str]) -> int:
    """Run the mode that the first argument names; returns the exit code, 2 for an unknown mode."""
    mode = arguments[0] if arguments else ""
    modes: dict[str, Callable[[], None]] = {
        "serve": serve,
        "follow": lambda: stream(follow),
        "metrics": lambda: stream(metrics),
        "send": lambda: stream(lambda asked, _: send(asked)),
        "receive": lambda: stream(lambda asked, _: receive(asked)),
        "supervise": lambda: supervise_detached(arguments[1] if len(arguments) > 1 else None),
        "guard-look": lambda: guard_look(say_line),
        "guard-watch": lambda: guard_watch(say_line),
        "end": end_detached,
    }
    if mode not in modes:
        sys.stderr.write(f"usage: agent {{{','.join(modes)}}}\n")
        return 2
    try:
        if mode in ("serve", "follow", "metrics", "send", "receive"):
            say_line(greeting())
        modes[mode]()
    except BrokenPipeError:  # the reader went away
        return 0
    return 0
