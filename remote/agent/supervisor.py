"""One job from its place in the queue to its `exit.json`."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from .base.files import ENVIRONMENT, FULL, Json, Problem, exclusive, read_json, write_json, write_whole
from .base.processes import (
    JOB_VARIABLE,
    KILL_PATIENCE_S,
    boot_id,
    forked,
    job_processes,
    libc,
    main_process,
    oom_kills,
    process,
    ran_out_of_memory,
    send,
    signal_name,
)
from .base.units import goes_down, is_unit
from .guard.timer import tend_guard
from .jobs.alarms import LOOK_S, Watchman
from .jobs.detached import close_standard_files, tend
from .jobs.endings import (
    ENDED_BY,
    FAILED,
    LOGIN_ENDED,
    NOT_FOUND,
    RESTARTED,
    STOPPED,
    UNIT_STOPPED,
    exit_as,
    how_it_ended,
)
from .jobs.last_words import mark_awaiting_room, write_exit
from .jobs.preemption import is_going_down, watch_for_preemption
from .jobs.rows import BESIDE, earlier_gpu_jobs, state_of, successor_of, waited_for
from .jobs.succession import to_be_resumed

QUEUE_POLL_S = 0.2
# Workers of a data loader are gone within milliseconds of their parent; whatever needs longer is a stray.
LEFTOVER_GRACE_S = 5.0
PR_SET_CHILD_SUBREAPER = 36


def supervise(directory: Path, say: Callable[[Json], None]) -> None:
    """Take one job from its place in the queue to its `exit.json`. Only SIGKILL ends this before the job has ended.

    SIGTERM comes when the machine goes down, or when a login's processes are ended: a job that runs is asked to end
    and keeps its checkpoint; one that waits goes on waiting, for the supervisor that the next question gives it.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: pass_on_end(directory))
    try:
        with exclusive(directory / "lock", timeout_s=1.0):
            say({"supervised": True})
            close_standard_files()
            ended = None if (directory / "exit.json").exists() else watch(directory)
            if ended is not None:
                say_how_it_ended(directory, ended)
            tend_guard()  # it may have been killed meanwhile, and from now on it is what stops the machine
    except Problem:  # another one is at work
        say({"supervised": False})


def watch(directory: Path) -> Json | None:
    """Begin the job in its turn, or take over one whose supervisor was killed; returns how it ended."""
    state = read_json(directory / "state.json")
    if state is not None:
        with suppress(OSError):  # of a full disk: it is watched all the same
            write_json(directory / "state.json", {**state, "supervisor": os.getpid(), "is_taken_over": True})
        watch_for_preemption(directory)
        wait_for_other(state, Watchman(directory))
        end_leftovers(directory)
        return how_it_ended(directory, None)
    request = read_json(directory / "request.json") or {}
    refusal = wait_for_turn(directory, request)
    if refusal is not None:
        return exit_as(STOPPED, None, refusal)
    # From here on, not before: a supervisor that was started for another job while waiting must not fall to this one.
    with suppress(OSError, AttributeError):
        libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    oom_before, watchman = oom_kills(), Watchman(directory)
    try:
        pid = start_child(directory, request)
    except OSError as error:
        if error.errno in FULL:
            return exit_as(FAILED, None, "not started: the disk is full", "free some space there, and start it again")
        why = f"cannot start {request['argv'][0]}: {error.strerror}"
        return exit_as(NOT_FOUND, None, why, "t2v bootstrap makes the host ready")
    watch_for_preemption(directory)  # a thread: not before the fork
    code = wait_for_own(pid, watchman)
    # At once: to end what it left may take a quarter of a minute.
    watchman.look_at_memory(signal_name(-code) if code < 0 else None)
    end_leftovers(directory)
    return how_it_ended(directory, code, ran_out_of_memory(oom_before))


def pass_on_end(directory: Path) -> None:
    """Ask the job to end, after writing down why."""
    # Also for the program that is asked below: whatever starts meanwhile in a login that ends is told to end as well.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    state = read_json(directory / "state.json")
    if state is None:
        raise SystemExit(0)
    with suppress(OSError):  # of a full disk: it is asked all the same
        write_whole(directory / ENDED_BY, RESTARTED if goes_down() else UNIT_STOPPED if is_unit() else LOGIN_ENDED)
    main = main_process(state)
    if main is not None:
        send([main.pid], signal.SIGTERM)


def say_how_it_ended(directory: Path, ended: Json) -> None:
    """Write how a job ended, which a full disk must not hide.

    Where not even the reserve is left, somebody may make room.

    Of a job whose folder was removed there is nothing to say.
    """
    for _ in range(12):
        try:
            write_exit(directory, ended)
            return
        except OSError:
            if not directory.is_dir():
                return
            mark_awaiting_room(directory)
            time.sleep(5)


def wait_for_turn(directory: Path, request: Json) -> str | None:
    """Return None when it is this job's turn, else why it will never be."""
    while True:
        if (directory / "stop").exists():
            return "stopped before it began"
        is_in_line = request.get("needs_gpu") and not (directory / BESIDE).exists()
        ahead = earlier_gpu_jobs(directory, request, waiting=False) if is_in_line else []
        if request.get("after"):
            first = next(waited_for(directory.parent, request), None)
            if first is None:
                return f"not started: job {request['after']} did not succeed (lost)"
            word = state_of(first)[0]
            is_over = word not in ("queued", "starting", "running", "succeeded")
            # Looked for last: one may have begun to go on with it meanwhile.
            if is_over and first != to_be_resumed(directory.parent) and first == successor_of(first):
                return f"not started: job {first.name} did not succeed ({word})"
            ahead += [first] if word != "succeeded" else []
        if not ahead and not is_going_down():
            return None
        for other in ahead:
            if (other / "request.json").exists():
                tend(other)
        time.sleep(QUEUE_POLL_S)


def start_child(directory: Path, request: Json) -> int:
    """Fork, write down the child's pid, and only then let it become the program: no job without a record.

    Returns its pid. Raises OSError when the program cannot be run.
    """
    login = read_json(directory / ENVIRONMENT) or dict(os.environ)
    environment = {**login, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **request["env"]}
    environment[JOB_VARIABLE] = directory.name
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    gate, open_gate = os.pipe()
    hear, tell = os.pipe()

    def child() -> NoReturn:
        os.close(open_gate)
        become(request["argv"], environment, directory.parent.parent, log, gate, tell)

    pid = forked(child)
    for descriptor in (gate, tell, log):
        os.close(descriptor)
    try:
        record(directory, pid, request["argv"])
        os.write(open_gate, b"go")
    finally:
        os.close(open_gate)  # unwritten, it tells the child to end
    with os.fdopen(hear, "rb") as answer:
        number = answer.read()  # ends when the program has begun: the descriptor is closed by exec
    if number:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)))
    return pid


def become(argv: list[str], environment: dict[str, str], folder: Path, log: int, gate: int, tell: int) -> NoReturn:
    """Turn the child into the program.

    It gets a session of its own, no input, output to the log, every signal as a program expects it.
    """
    try:
        os.setsid()
        if os.read(gate, 2) == b"go":
            for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
                os.dup2(source, target)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.chdir(folder)
            os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is what is wanted
    except OSError as error:
        os.write(tell, str(error.errno).encode())
    finally:
        os._exit(NOT_FOUND)


def record(directory: Path, pid: int, argv: list[str]) -> None:
    """Write `state.json`: the job's process, by which it is known again, and its supervisor. Raises OSError."""
    one = process(pid)
    state = {"pid": pid, "start_ticks": one.start_ticks if one else None, "boot_id": boot_id(), "started": time.time()}
    write_json(directory / "state.json", {**state, "argv": argv, "supervisor": os.getpid()})


def wait_for_own(pid: int, watchman: Watchman) -> int:
    """Wait for a child, and look after it meanwhile; returns its exit code, negative for a signal.

    Also takes the exit codes of orphans of the job, so that they do not stay as zombies.
    """
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)
        if not ended:
            watchman.check()
            wait_a_little(pid)


def wait_for_other(state: Json, watchman: Watchman) -> None:
    """Wait for a process that is not a child of this one, and look after it meanwhile."""
    while (found := main_process(state)) is not None:
        watchman.check()
        wait_a_little(found.pid)
    watchman.look_at_memory()


def wait_a_little(pid: int) -> None:
    """Wait until a process has ended, for a few seconds at most."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # a kernel before 5.3, or it is gone
        time.sleep(QUEUE_POLL_S)
        return
    select.select([descriptor], [], [], LOOK_S)
    os.close(descriptor)


def end_leftovers(directory: Path) -> None:
    """End what a job leaves behind, which would keep the GPU's memory; it gets a moment to end by itself."""
    for number, patience_s in ((signal.SIGTERM, LEFTOVER_GRACE_S), (signal.SIGKILL, KILL_PATIENCE_S)):
        deadline = time.monotonic() + patience_s
        while left := job_processes(directory):
            if time.monotonic() > deadline:
                break
            send(left, number)
            time.sleep(0.1)
        if not left:
            break
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
