"""The one file that runs on a host: it starts jobs, looks after them, and says what became of them.

Standard library only, Python 3.9 or newer, uploaded under its sha256. The command line is constant; everything that
somebody chose arrives as JSON on stdin, so no prompt and no path ever stands on a command line or meets a shell.

serve       requests as JSON lines on stdin, answers on stdout; ends with its stdin, while jobs go on
follow      the bytes of a job's log and events from an offset on, as frames
metrics     GPU, CPU, memory and disk every few seconds
supervise   started by `serve`, detached: waits for its turn, runs one job, writes `exit.json` last
end         started by `serve`, detached: stops one job, by force if need be, even when the link is lost meanwhile

A job is a directory `jobs/<id>/`: spec.json, request.json (what to start), lock (held by the supervisor for life),
state.json (pid, its start time, boot id), log, events.jsonl, exit.json; `stop`, `save`, `pause` are requests to it.
"""

from __future__ import annotations

import binascii
import errno
import fcntl
import hashlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

BEAT_S = 3.0
QUEUE_POLL_S = 0.2
LOCK_TIMEOUT_S = 10.0
# A supervisor says that it is at work within 0.1 s; on a machine that swaps it may take long.
DETACH_TIMEOUT_S = 30.0
STOP_GRACE_S = 60.0
# How long a signal may take; the stop file before it has the whole grace, since a checkpoint may be on its way.
SIGNAL_PATIENCE_S = 5.0
KILL_PATIENCE_S = 10.0
# Workers of a data loader are gone within milliseconds of their parent; whatever needs longer is a stray.
LEFTOVER_GRACE_S = 5.0
CHUNK_BYTES = 256 * 1024
READ_LIMIT_BYTES = 1024 * 1024
LS_LIMIT = 20_000

STOPPED, FAILED, NOT_FOUND = 4, 1, 127
JOB_ID = re.compile(r"[a-z0-9-]+")
MADE_HERE = re.compile(r"\d{8}-\d{6}-(?P<verb>[a-z0-9-]+)-[0-9a-f]+")
# Whoever has this in its environment belongs to that job; supervisors are nobody's.
JOB_VARIABLE, NOBODY = "T2V_JOB", "-"
BOOT_ID_FILE = Path(os.environ.get("T2V_BOOT_ID_FILE", "/proc/sys/kernel/random/boot_id"))
SYSTEMD_MARK = Path(os.environ.get("T2V_SYSTEMD_MARK", "/run/systemd/system"))  # sd_booted(3)
PR_SET_CHILD_SUBREAPER = 36

Json = dict[str, Any]


class Problem(Exception):
    """What goes back instead of an answer. kind: asked-wrongly, failed, not-found or busy."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


# Files: whole or not at all


def write_whole(path: Path, content: str) -> None:
    """Under a staging name, synced, renamed; the folder's entry is synced as well."""
    partial = path.with_name(f".partial-{os.getpid()}-{threading.get_ident()}-{path.name}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Plain ASCII: a lone surrogate, which JSON can carry and UTF-8 cannot, arrives as it was sent."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Json | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def exclusive(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[int]:
    """Hold the flock of a file; yields its descriptor. Raises Problem when another holds it for `timeout_s`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Problem("busy", f"another process holds {path}", "try again") from None
                time.sleep(0.01)
        yield descriptor
    finally:
        os.close(descriptor)


def is_supervised(directory: Path) -> bool:
    """A shared lock does not fit beside the supervisor's; two who ask at the same time do not see each other."""
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


# Processes


class Process(NamedTuple):
    """One line of the process table; a pid with its start time is never reused within a boot."""

    pid: int
    parent: int
    group: int
    session: int
    start_ticks: int


def process(pid: int) -> Process | None:
    """None when it is gone, or only its exit code is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def boot_id() -> str | None:
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return None


def named_job(pid: int) -> str | None:
    """The job in the environment that a process was started with."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    mark = JOB_VARIABLE.encode() + b"="
    found = next((item for item in environment.split(b"\0") if item.startswith(mark)), None)
    return None if found is None else found[len(mark) :].decode(errors="replace")


def main_process(state: Json | None) -> Process | None:
    """The job's own process if it is alive: same boot, same pid, same start time (or, without one, same arguments)."""
    if not state or "pid" not in state or state.get("boot_id") != boot_id():
        return None
    found = process(int(state["pid"]))
    if found is None:
        return None
    if "start_ticks" in state:
        return found if found.start_ticks == state["start_ticks"] else None
    with suppress(OSError):
        arguments = Path(f"/proc/{found.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        return found if arguments == [os.fsencode(part) for part in state.get("argv", [])] else None
    return None


def job_processes(directory: Path) -> list[int]:
    """Everything alive that belongs to a job: its session and group, who names it, who descends from either.

    A child that forks twice and calls setsid keeps the job in its environment, or falls to the supervisor, which is a
    subreaper. Jobs that were started from within this one are jobs of their own.
    """
    state = read_json(directory / "state.json") or {}
    own: set[int] = set()
    others: list[Process] = []
    for entry in Path("/proc").iterdir():
        one = process(int(entry.name)) if entry.name.isdigit() else None
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
    import ctypes  # noqa: PLC0415 - whoever starts a job waits for what is imported; as below

    return ctypes.CDLL(None)


def find_program(name: str, path: str | None = None) -> str | None:
    import shutil  # noqa: PLC0415

    return shutil.which(name, path=path)


def send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def oom_kills() -> Json:
    """Counts of what the kernel killed for want of memory, by file: of this process's memory group, else of all."""
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
    """True when a count rose since `before`; None when there is nothing to count by."""
    for file, count in before.items():
        with suppress(OSError):
            if now := re.search(r"^oom_kill (\d+)$", Path(file).read_text(), re.MULTILINE):
                return int(now[1]) > int(count)
    return None


# How a job stands


def last_events(directory: Path) -> Iterator[Json]:
    """The whole events at the end of `events.jsonl`, newest first."""
    with suppress(OSError), (directory / "events.jsonl").open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - CHUNK_BYTES))
        data = file.read()
        for line in reversed(data[: data.rfind(b"\n") + 1].splitlines()):
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event


def last_line(directory: Path) -> str:
    """The last line of the log that says something, at most 200 characters of it."""
    segments = segments_of(directory, "log")
    if not segments:
        return ""
    with suppress(OSError), segments[-1].path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else ""
    return ""


def exit_as(code: int, name: str | None, reason: str, hint: str = "") -> Json:
    """The fields of `exit.json`, as remote.jobs.Exit describes them."""
    return {"code": code, "signal": name, "reason": reason, "hint": hint, "ended": time.time()}


def how_it_ended(directory: Path, code: int | None, has_oom: bool | None = None) -> Json | None:
    """What `exit.json` will say.

    code: of the process, negative for a signal; None when nobody saw it end, and then only its events can tell
    Returns None when they do not: the job is lost.
    """
    is_engine = bool((read_json(directory / "request.json") or {}).get("is_engine", True))
    last = next((event for event in last_events(directory) if event.get("kind") in ("done", "error")), {})
    name = signal_name(-code) if code is not None and code < 0 else None
    is_done = last.get("kind") == "done"
    if (code == 0 and (is_done or not is_engine)) or (code is None and is_done):
        return exit_as(0, None, "done")
    if last.get("kind") == "error" and name is None:
        said = code or int(last.get("exit_code") or FAILED)
        return exit_as(said, None, str(last.get("message", "")), str(last.get("hint", "")))
    if (directory / "stop").exists():
        by = f"ended by {name}" if name else "it left no word" if code is None else f"it ended with code {code}"
        return exit_as(STOPPED, name, f"stopped: {by}")
    if code is None:
        return None
    if has_oom and (name == "SIGKILL" or code > 0):
        reason = "memory ran out: the system killed " + ("it (SIGKILL)" if name else "a process of it")
        return exit_as(code if code > 0 else FAILED, name, reason, "try a smaller batch, size or model")
    return exit_as(code if code > 0 else FAILED, name, *unexplained(directory, code, name, has_oom))


def unexplained(directory: Path, code: int, name: str | None, has_oom: bool | None) -> tuple[str, str]:
    """A sentence and a hint for a process that ended without a word."""
    if name == "SIGKILL":
        who = "somebody sent it: the system counted no kill for want of memory" if has_oom is False else ""
        return "it was killed (SIGKILL)", who or "usually memory ran out: try a smaller batch, size or model"
    if name is not None:
        return f"it was ended by {name}", "the log may say more"
    last = last_line(directory)
    return f"it ended with code {code} and no word why" + (f"; its log ends: {last}" if last else ""), "see the log"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def settle(directory: Path) -> None:
    """Write `exit.json` for a job that ended while nobody looked, when its events say how."""
    with suppress(Problem), exclusive(directory / "lock", timeout_s=0):
        if not (directory / "exit.json").exists() and (ended := how_it_ended(directory, None)):
            write_json(directory / "exit.json", ended)


def tend(directory: Path) -> None:
    """See to it that a job that has not ended has a supervisor, also when its first one was killed."""
    if (directory / "exit.json").exists() or is_supervised(directory):
        return
    state = read_json(directory / "state.json")
    if state is None:
        ensure_supervisor(directory)
    elif state.get("boot_id") == boot_id() and job_processes(directory):
        detached("supervise", {"directory": str(directory)})
    else:
        settle(directory)


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


# Starting and supervising


# Run as a module this file is compiled once (20 ms) and not each time; isolated (-I), nothing beside it is imported.
RUN = (
    "import importlib.util as u, sys; s = u.spec_from_file_location('t2v_agent', sys.argv[1]); "
    "m = u.module_from_spec(s); s.loader.exec_module(m); sys.exit(m.main(sys.argv[2:]))"
)


def again() -> list[str]:
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", RUN, str(Path(__file__).resolve())]


def detached(mode: str, parameters: Json, timeout_s: float = DETACH_TIMEOUT_S) -> Json:
    """Run this file once more as a process that nobody's end can reach; returns what it says.

    It has a session of its own, no parent but init, and belongs to no job.
    """
    child = subprocess.Popen(
        [*again(), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env={**os.environ, JOB_VARIABLE: NOBODY},
    )
    try:
        said, _ = child.communicate(json.dumps(parameters).encode() + b"\n", timeout=timeout_s)
        answer = json.loads(said)
    except subprocess.TimeoutExpired:
        raise Problem("failed", f"the agent's {mode} did not answer within {timeout_s:g} s", "ask again") from None
    except ValueError:
        raise Problem("failed", f"the agent's {mode} ended without a word", "see agent-error in the job") from None
    return dict(answer)


def leave_parent() -> None:
    """The second half of detaching: the first process ends, and this one is init's and can get no terminal."""
    if os.fork():
        os._exit(0)


def close_standard_files() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def ensure_supervisor(directory: Path) -> None:
    """Start a supervisor for a queued job: as a unit of the system where that works, else as a detached process."""
    if not (may_use_systemd() and begin_unit(directory)):
        detached("supervise", {"directory": str(directory)})


def systemd_argv(directory: Path, uid: int, gid: int) -> list[str]:
    """The exact command for a transient unit with our supervisor in it.

    A user's own units die with the last login on Ubuntu 24.04 in spite of linger (systemd#43361), hence the system's.
    The parameters are hex digits: systemd expands `%` and `$` in what it is given. The supervisor ignores SIGTERM and
    writes down how the job ended, so out of memory must not stop the unit before that.
    """
    log, parameters = directory / "log", json.dumps({"directory": str(directory)}).encode()
    return [
        "sudo", "-n", "systemd-run", f"--unit=t2v-{directory.name}", f"--uid={uid}", f"--gid={gid}", "--collect",
        "--quiet", "-p", "KillMode=control-group", "-p", "TimeoutStopSec=60", "-p", f"StandardOutput=append:{log}",
        "-p", f"StandardError=append:{log}", "-p", "OOMPolicy=continue", f"--setenv={JOB_VARIABLE}={NOBODY}",
        "--", *again(), "supervise",
        parameters.hex(),
    ]  # fmt: skip


SYSTEMD: list[bool] = []


def may_use_systemd() -> bool:
    """True where systemd is process 1 and this user may start system units without a password; asked once."""
    if not SYSTEMD:
        SYSTEMD.append(SYSTEMD_MARK.is_dir() and succeeds(["sudo", "-n", "systemd-run", "--version"]))
    return SYSTEMD[0]


def succeeds(argv: Sequence[str]) -> bool:
    try:
        return (
            subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def begin_unit(directory: Path) -> bool:
    """True when the unit's supervisor is at work; where it is not, the caller starts one in the other way."""
    if not succeeds(systemd_argv(directory, os.getuid(), os.getgid())):
        return False
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while time.monotonic() < deadline:
        if is_supervised(directory) or (directory / "exit.json").exists():
            return True
        time.sleep(0.02)
    return False


def supervise(directory: Path, say: Callable[[Json], None]) -> None:
    """One job from its place in the queue to its `exit.json`. Only SIGKILL ends this before the job has ended."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        with exclusive(directory / "lock", timeout_s=1.0):
            say({"supervised": True})
            close_standard_files()
            ended = None if (directory / "exit.json").exists() else watch(directory)
            if ended is not None:
                write_exit(directory, ended)
    except Problem:  # another one is at work
        say({"supervised": False})


def watch(directory: Path) -> Json | None:
    """Begin the job in its turn, or take over one whose supervisor was killed; returns how it ended."""
    state = read_json(directory / "state.json")
    if state is not None:
        write_json(directory / "state.json", {**state, "supervisor": os.getpid()})
        wait_for_other(state)
        end_leftovers(directory)
        return how_it_ended(directory, None)
    request = read_json(directory / "request.json") or {}
    refusal = wait_for_turn(directory, request)
    if refusal is not None:
        return exit_as(STOPPED, None, refusal)
    # From here on, not before: a supervisor that was started for another job while waiting must not fall to this one.
    with suppress(OSError, AttributeError):
        libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    oom_before = oom_kills()
    try:
        pid = start_child(directory, request)
    except OSError as error:
        why = f"cannot start {request['argv'][0]}: {error.strerror}"
        return exit_as(NOT_FOUND, None, why, "t2v bootstrap makes the host ready")
    code = wait_for_own(pid)
    end_leftovers(directory)
    return how_it_ended(directory, code, ran_out_of_memory(oom_before))


def write_exit(directory: Path, ended: Json) -> None:
    """A full disk must not hide how it ended: somebody may make room."""
    for _ in range(12):
        try:
            write_json(directory / "exit.json", ended)
            return
        except OSError:
            time.sleep(5)


def wait_for_turn(directory: Path, request: Json) -> str | None:
    """Returns None when it is this job's turn, else why it will never be."""
    while True:
        if (directory / "stop").exists():
            return "stopped before it began"
        ahead = earlier_gpu_jobs(directory, waiting=False) if request.get("needs_gpu") else []
        if request.get("after"):
            first = directory.parent / request["after"]
            word = state_of(first)[0] if first.is_dir() else "lost"
            if word not in ("queued", "starting", "running", "succeeded"):
                return f"not started: job {first.name} did not succeed ({word})"
            ahead += [first] if word != "succeeded" else []
        if not ahead:
            return None
        for other in ahead:
            if (other / "request.json").exists():
                tend(other)
        time.sleep(QUEUE_POLL_S)


def start_child(directory: Path, request: Json) -> int:
    """Fork, write down the child's pid, and only then let it become the program: no job without a record.

    Returns its pid. Raises OSError when the program cannot be run.
    """
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", **request["env"]}
    environment[JOB_VARIABLE] = directory.name
    log = os.open(directory / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    gate, open_gate = os.pipe()
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(open_gate)
        become(request["argv"], environment, directory.parent.parent, log, gate, tell)
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
    """In the child: a session of its own, no input, output to the log, every signal as a program expects it."""
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
    one = process(pid)
    state = {"pid": pid, "start_ticks": one.start_ticks if one else None, "boot_id": boot_id(), "started": time.time()}
    write_json(directory / "state.json", {**state, "argv": argv, "supervisor": os.getpid()})


def wait_for_own(pid: int) -> int:
    """Also takes the exit codes of orphans of the job, so that they do not stay as zombies."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def wait_for_other(state: Json) -> None:
    """Wait for a process that is not a child of this one."""
    while (found := main_process(state)) is not None:
        try:
            descriptor = os.pidfd_open(found.pid)
        except (AttributeError, OSError):  # a kernel before 5.3
            time.sleep(QUEUE_POLL_S)
            continue
        if main_process(state) is not None:
            select.select([descriptor], [], [])
        os.close(descriptor)


def end_leftovers(directory: Path) -> None:
    """What a job leaves behind would keep the GPU's memory; it gets a moment to end by itself."""
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


# Stopping


def end_job(directory: Path, grace_s: float) -> Json:
    """Ask by the `stop` file, then SIGINT, SIGTERM, SIGKILL over the whole tree; then look what is left.

    grace_s: how long the file may take; each signal has at most five seconds
    """
    request, seen = read_json(directory / "request.json"), set(job_processes(directory))
    how = "stop file"
    if not has_ended(directory):
        write_whole(directory / "stop", "")
        if request is not None:
            tend(directory)
        listens = (request or {}).get("is_engine", True) or not (directory / "state.json").exists()
        patience_s = max(0.1, min(grace_s, SIGNAL_PATIENCE_S))
        steps = [("stop file", None, grace_s if listens else 0.0), ("SIGINT", signal.SIGINT, patience_s)]
        steps += [("SIGTERM", signal.SIGTERM, patience_s), ("SIGKILL", signal.SIGKILL, KILL_PATIENCE_S)]
        for name, number, limit_s in steps:
            how = name
            if has_gone(directory, number, limit_s, seen):
                break
    else:
        how = "had ended"
    deadline = time.monotonic() + KILL_PATIENCE_S
    while is_supervised(directory) and not has_ended(directory) and time.monotonic() < deadline:
        time.sleep(0.02)
    settle(directory)
    left = job_processes(directory)
    return {"state": state_of(directory)[0], "left": left, "how": how, **gpu_left(seen, set(left))}


def has_ended(directory: Path) -> bool:
    return (directory / "exit.json").exists()


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
            if not found and not is_supervised(directory):
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
    """Processes of the job that still hold GPU memory; the driver takes a moment to forget those that ended."""
    deadline = time.monotonic() + SIGNAL_PATIENCE_S
    while True:
        rows, why = ask_nvidia(["--query-compute-apps=pid,used_memory"])
        found = [row for row in rows if row and row[0].isdigit() and int(row[0]) in seen | left]
        if not found or time.monotonic() > deadline:
            holding = [{"pid": int(row[0]), "memory_used_mib": number(row[1])} for row in found]
            return {"gpu_left": holding, "gpu_checked": why is None, "why": why or ""}
        time.sleep(0.2)


# GPU and machine

# nvidia-smi's names, which its manual does not promise to keep, and ours
GPU_FIELDS = {
    "count": "count", "index": "index", "uuid": "uuid", "name": "name", "utilization.gpu": "utilization_percent",
    "memory.used": "memory_used_mib", "memory.total": "memory_total_mib", "temperature.gpu": "temperature_c",
    "power.draw": "power_w", "power.limit": "power_limit_w", "clocks.sm": "sm_clock_mhz", "pstate": "pstate",
}  # fmt: skip
GPU_TEXTS = ("uuid", "name", "pstate")
GPU_QUERY = f"--query-gpu={','.join(GPU_FIELDS)}"
GPU_FORMAT = "--format=csv,noheader,nounits"
NO_NVIDIA_SMI = "this machine has no NVIDIA GPU, or its driver is not installed (there is no nvidia-smi)"


def nvidia_smi() -> str | None:
    """A plain exec over SSH has a short PATH."""
    return find_program("nvidia-smi", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin:/usr/lib/wsl/lib")


def ask_nvidia(arguments: Sequence[str]) -> tuple[list[list[str]], str | None]:
    """The cells of each line, and why there are none."""
    program = nvidia_smi()
    if program is None:
        return [], NO_NVIDIA_SMI
    try:
        done = subprocess.run(
            [program, *arguments, GPU_FORMAT], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"nvidia-smi does not answer: {error}"
    if done.returncode != 0:
        return [], "nvidia-smi: " + " ".join((done.stdout + done.stderr).split())[:300]
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()], None


def number(cell: str) -> Any:
    """None for `[N/A]`, `[Not Supported]` and whatever else is not one."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return int(value) if value.is_integer() else value


def gpu_of(cells: Sequence[str]) -> Json | None:
    """None for a line that is not one of ours."""
    if len(cells) != len(GPU_FIELDS):
        return None
    named = dict(zip(GPU_FIELDS.values(), cells))  # noqa: B905 - strict is 3.10's
    values = {name: number(cell) for name, cell in named.items() if name not in GPU_TEXTS}
    texts = {name: None if cell.startswith("[") else cell for name, cell in named.items() if name in GPU_TEXTS}
    return {name: {**values, **texts}[name] for name in named}


def gpu_sample() -> Json:
    rows, why = ask_nvidia([GPU_QUERY])
    return {"t": time.time(), "gpus": [gpu for row in rows if (gpu := gpu_of(row))], "why": why or ""}


def cpu_ticks() -> tuple[int, int]:
    """Busy and all, since the machine started."""
    try:
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return 0, 0
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def memory_bytes() -> Json:
    with suppress(OSError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        values = {line[0]: int(line[1]) * 1024 for line in lines if len(line) == 3}
        return {"total_bytes": values.get("MemTotal:"), "available_bytes": values.get("MemAvailable:")}
    return {"total_bytes": None, "available_bytes": None}


def free_bytes(folder: Path) -> int:
    """Of the disk a folder lies on, or will."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return os.statvfs(existing).f_bavail * os.statvfs(existing).f_frsize


class GpuSource:
    """One nvidia-smi that stays and writes a line a GPU every few seconds; begun again when it ended."""

    def __init__(self, interval_s: int) -> None:
        self.interval_s, self.why = interval_s, NO_NVIDIA_SMI
        self._child: subprocess.Popen[bytes] | None = None
        self._ahead, self._begin_at = b"", 0.0

    def descriptor(self) -> int | None:
        """Where it writes; None while there is nothing to read."""
        program = nvidia_smi()
        if self._child is None and program and time.monotonic() >= self._begin_at:
            argv = [program, GPU_QUERY, GPU_FORMAT, "-l", str(self.interval_s)]
            self._child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        return self._child.stdout.fileno() if self._child and self._child.stdout else None

    def read(self, descriptor: int) -> list[Json]:
        """The GPUs of the lines that came; sets `why` when it ended instead."""
        data = os.read(descriptor, 65536)
        if not data and self._child:
            self.why = f"nvidia-smi ended with code {self._child.wait()}"
            self._child, self._begin_at = None, time.monotonic() + 30
        *lines, self._ahead = (self._ahead + data).split(b"\n")
        rows = ([cell.strip() for cell in line.decode(errors="replace").split(",")] for line in lines)
        return [gpu for row in rows if (gpu := gpu_of(row))]

    def close(self) -> None:
        if self._child:
            self._child.terminate()


def metrics(parameters: Json, say: Callable[[Json], None]) -> None:
    """A line every `interval_s`; ends with stdin."""
    interval_s = max(1, take(parameters, "interval_s", int, 2))
    folder, before, gpus = workspace(parameters), cpu_ticks(), []
    source = GpuSource(interval_s)
    while True:
        descriptor = source.descriptor()
        watched = [0] if descriptor is None else [0, descriptor]
        ready = select.select(watched, [], [], interval_s if descriptor is None else 3 * interval_s)[0]
        if 0 in ready and not os.read(0, 4096):
            break
        if descriptor in ready and descriptor is not None:
            gpus += source.read(descriptor)
            if source.descriptor() is not None and len(gpus) < (gpus[0]["count"] or 1 if gpus else 1):
                continue  # of several GPUs each has a line
        now = cpu_ticks()
        cpu = round(100 * (now[0] - before[0]) / max(1, now[1] - before[1]), 1)
        machine = {"cpu_percent": cpu, "memory": memory_bytes(), "disk_free_bytes": free_bytes(folder)}
        say({"t": time.time(), "gpus": gpus, "why": "" if gpus else source.why, **machine})
        before, gpus = now, []
    source.close()


# Following


class Segment(NamedTuple):
    path: Path
    inode: int
    size_bytes: int


def segments_of(directory: Path, name: str) -> list[Segment]:
    """The files that make up one stream of bytes, in order: name.00000, name.00001 …, then name."""
    found = []
    for path in directory.glob(f"{name}*"):
        if path.name == name or re.fullmatch(r"\.\d{5,}", path.name[len(name) :]):
            with suppress(FileNotFoundError):  # renamed just now: it is in the list a second time, or in the next
                status = path.stat()
                found.append(Segment(path, status.st_ino, status.st_size))
    return sorted(found, key=lambda segment: (segment.path.name == name, segment.path.name))


def size_of(directory: Path, name: str) -> int:
    return sum(segment.size_bytes for segment in segments_of(directory, name))


class ByteStream:
    """Reads `name` with its segments from an offset on; whoever writes may rename `name` to the next segment."""

    def __init__(self, directory: Path, name: str, offset: int) -> None:
        self.directory, self.name, self.offset = directory, name, offset
        self._file: int | None = None
        self._inode, self._place = 0, 0

    def read(self, size: int) -> bytes:
        """The next bytes; b"" when there are none now. Raises Problem when the offset lies beyond the end."""
        if self._file is None and not self._open_at_offset():
            return b""
        data = self._read(size)
        while not data and self._has_successor():
            data = self._read(size)  # what came between the last look and the successor
            if not data:
                self._open(*self._successor())
                data = self._read(size)
        self.offset += len(data)
        return data

    def _read(self, size: int) -> bytes:
        assert self._file is not None  # noqa: S101 - for the type checker
        data = os.pread(self._file, size, self._place)
        self._place += len(data)
        return data

    def _open_at_offset(self) -> bool:
        before = 0
        segments = segments_of(self.directory, self.name)
        for segment in segments:
            is_last = segment is segments[-1]
            if self.offset < before + segment.size_bytes or (is_last and self.offset == before + segment.size_bytes):
                return self._open(segment, self.offset - before)
            before += segment.size_bytes
        if self.offset > before:
            raise Problem("failed", f"{self.name} has {before} bytes, and {self.offset} are said to be read already")
        return False

    def _open(self, segment: Segment, place: int = 0) -> bool:
        """False when the name is another file's by now; then look again."""
        try:
            file = os.open(segment.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        if os.fstat(file).st_ino != segment.inode:
            os.close(file)
            return False
        if self._file is not None:
            os.close(self._file)
        self._file, self._inode, self._place = file, segment.inode, place
        return True

    def _has_successor(self) -> bool:
        segments = segments_of(self.directory, self.name)
        return any(segment.inode == self._inode for segment in segments[:-1])

    def _successor(self) -> tuple[Segment, int]:
        segments = segments_of(self.directory, self.name)
        place = next(number for number, segment in enumerate(segments) if segment.inode == self._inode)
        return segments[place + 1], 0


class Watch:
    """Wakes when something in a folder changes: inotify, or a look every 20 ms where there is none."""

    MODIFY_MOVE_CREATE = 0x2 | 0x40 | 0x80 | 0x100

    def __init__(self, directory: Path) -> None:
        self.descriptors = [0]
        with suppress(OSError, AttributeError):
            descriptor = libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if (
                descriptor >= 0
                and libc().inotify_add_watch(descriptor, os.fsencode(directory), self.MODIFY_MOVE_CREATE) >= 0
            ):
                self.descriptors.append(descriptor)

    def wait(self, timeout_s: float) -> bool:
        """False when the reader at the other end of stdin is gone."""
        has_inotify = len(self.descriptors) == 2
        ready = select.select(self.descriptors, [], [], max(0.0, timeout_s) if has_inotify else 0.02)[0]
        if has_inotify and self.descriptors[1] in ready:
            os.read(self.descriptors[1], 65536)
        return 0 not in ready or bool(os.read(0, 4096))


def follow(parameters: Json, say: Callable[[Json], None]) -> None:
    """Frames of a job's files until it has ended and every byte was sent, or the reader is gone."""
    directory = job_directory(parameters)
    offsets = take(parameters, "files", dict)
    streams = [ByteStream(directory, name, int(offsets[name])) for name in ("events.jsonl", "log") if name in offsets]
    watch_, said, looked = Watch(directory), time.monotonic(), 0.0
    while True:
        now, is_over = time.monotonic(), has_ended(directory)
        if not is_over and now - looked > 1:  # lost, or its supervisor was killed
            tend(directory)
            looked, is_over = now, state_of_live(directory) is None and state_of(directory)[1] != {}
        sent = 0
        for stream in streams:
            offset = stream.offset
            if data := stream.read(CHUNK_BYTES):
                header = json.dumps({"file": stream.name, "offset": offset, "n": len(data)}).encode() + b"\n"
                write_all(header + data)
                sent += len(data)
        if sent:
            # Many short writes in a row travel together: a frame for each costs more than the bytes.
            pause_s, said = (0.005 if now - said < 0.02 and sent < CHUNK_BYTES else 0), now
            time.sleep(pause_s)
        elif is_over:
            say({"end": job_row(directory)})
            return
        elif now - said >= BEAT_S:
            say({"beat": time.time()})
            said = now
        elif not watch_.wait(min(1.0, said + BEAT_S - now)):
            return


# What can be asked for


MISSING: Any = object()
WORDS = {str: "a text", int: "a number", dict: "an object", list: "a list", bool: "true or false", float: "a number"}


def take(parameters: Json, name: str, kind: Any, default: Any = MISSING) -> Any:
    value = parameters.get(name, default)
    if value is MISSING:
        raise Problem("asked-wrongly", f"{name} is missing")
    if value is default or (kind is float and type(value) is int) or type(value) is kind:
        return value
    raise Problem("asked-wrongly", f"{name} must be {WORDS[kind]}, not {json.dumps(value)[:80]}")


def arguments_in(texts: Sequence[Any], name: str) -> list[str]:
    """Texts that the system takes as arguments and paths: no NUL, nothing that has no bytes."""
    for text in texts:
        try:
            fits = isinstance(text, str) and b"\0" not in os.fsencode(text)
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise Problem("asked-wrongly", f"{name} must hold texts without NUL and lone surrogates")
    return list(texts)


def workspace(parameters: Json) -> Path:
    return expanded(arguments_in([take(parameters, "workspace", str, "~")], "workspace")[0]).resolve()


def expanded(path: str) -> Path:
    """`~` at the beginning is the home folder; `./~` is a file of that name, which Path would forget."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def job_directory(parameters: Json, name: str = "job") -> Path:
    job = take(parameters, name, str)
    directory = workspace(parameters) / "jobs" / job
    if not JOB_ID.fullmatch(job) or not directory.is_dir():
        raise Problem("not-found", f"there is no job {job!r} in {directory.parent.parent}", "t2v jobs lists them")
    return directory


def user_name() -> str:
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def hello(_: Json) -> Json:
    who = {"host": os.uname().nodename, "user": user_name(), "boot_id": boot_id(), "time": time.time()}
    return {**greeting(), **who, "cores": os.cpu_count()}


def start(parameters: Json) -> Json:
    """The same key is the same job, however often and from wherever it is asked for."""
    jobs = workspace(parameters) / "jobs"
    request = start_request(parameters, jobs)
    key = request["key"] or os.urandom(16).hex()
    name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    (jobs / ".keys").mkdir(parents=True, exist_ok=True)
    with exclusive(jobs / ".lock") as lock:
        known = jobs / ".keys" / name
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


def ls(parameters: Json) -> Json:
    """Names below a folder of the workspace; `~` and absolute paths are meant as they are."""
    top = path_in(parameters, take(parameters, "path", str, "."))
    if not top.is_dir():
        raise Problem("not-found", f"there is no folder {top}")
    entries: list[Json] = []
    add_entries(top, "", take(parameters, "depth", int, 1), entries)
    return {"path": str(top), "entries": entries, "is_whole": len(entries) < LS_LIMIT}


def path_in(parameters: Json, path: str) -> Path:
    return workspace(parameters) / expanded(arguments_in([path], "path")[0])


def add_entries(folder: Path, prefix: str, depth: int, entries: list[Json]) -> None:
    for one in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if len(entries) >= LS_LIMIT:
            return
        with suppress(OSError):  # removed meanwhile, or not ours to read
            status_, is_folder = one.stat(follow_symlinks=False), one.is_dir(follow_symlinks=False)
            row = {"path": prefix + one.name, "kind": "folder" if is_folder else "link" if one.is_symlink() else "file"}
            times = {"size_bytes": status_.st_size, "mtime": status_.st_mtime}
            entries.append({**row, **times, "is_complete": is_complete(Path(one.path)) if is_folder else None})
            if is_folder and depth > 1:
                add_entries(Path(one.path), f"{prefix}{one.name}/", depth - 1, entries)


def is_complete(folder: Path) -> bool | None:
    """By its `manifest.json`, as t2v_core.files has it; None for a folder that is not meant to have one."""
    manifest = read_json(folder / "manifest.json")
    if manifest is None:
        return False if folder.name.startswith("checkpoint_") else None
    try:
        sizes = {name: entry["size_bytes"] for name, entry in manifest["files"].items()}
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def sha256_of(path: Path) -> Json:
    """sha256 is None for what is not a file that can be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while data := file.read(4 * CHUNK_BYTES):
                digest.update(data)
                size += len(data)
    except OSError as error:
        return {"sha256": None, "size_bytes": None, "why": str(error.strerror)}
    return {"sha256": digest.hexdigest(), "size_bytes": size, "why": ""}


def hash_files(parameters: Json) -> Json:
    paths = arguments_in(take(parameters, "paths", list), "paths")
    return {"files": [{"path": path, **sha256_of(path_in(parameters, path))} for path in paths]}


def read(parameters: Json) -> Json:
    """At most a megabyte of a file; `size_bytes` is the whole file's."""
    path = path_in(parameters, take(parameters, "path", str))
    offset, size = take(parameters, "offset", int, 0), take(parameters, "size", int, READ_LIMIT_BYTES)
    if not path.is_file():
        raise Problem("not-found", f"there is no file {path}")
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(max(0, min(size, READ_LIMIT_BYTES)))
        return {
            "data": binascii.b2a_base64(data, newline=False).decode(),
            "offset": offset,
            "size_bytes": os.fstat(file.fileno()).st_size,
        }


VERSIONS = """
import importlib.metadata as m, json, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
names = ("t2v", "torch", "diffusers", "transformers")
print(json.dumps({"python": sys.version.split()[0], **{n: version(n) for n in names}}))
"""


def probe(parameters: Json) -> Json:
    """What is there and what is missing, in one round trip. Versions are read from metadata: torch is not imported."""
    root = workspace(parameters)
    python = arguments_in(take(parameters, "python", list, []), "python")
    gpus = gpu_sample()
    return {
        **hello(parameters),
        "workspace": str(root),
        "is_there": root.is_dir(),
        "engine": versions(python),
        "gpus": gpus["gpus"],
        "gpu_why": gpus["why"],
        "driver": next((row[0] for row in ask_nvidia(["--query-gpu=driver_version"])[0]), None),
        "memory": memory_bytes(),
        "disk_free_bytes": free_bytes(root),
        "releases": releases(root),
        "data": sorted(one.name for one in root.glob("data/*") if one.is_dir()),
        "checkpoints": sorted(one.name for one in root.glob("checkpoints/*") if is_complete(one)),
        "jobs": len(job_directories(root / "jobs")),
        "systemd": may_use_systemd(),
    }


def versions(python: list[str]) -> Json | None:
    """Of the engine's Python; None when it does not run."""
    if not python:
        return None
    try:
        argv = [str(expanded(python[0])), *python[1:], "-c", VERSIONS]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True)
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


# Making the host ready: what remote/bootstrap.py asks for


PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.14")
ABOUT_PYTHON = """
import sys
try:
    import ensurepip, venv
    print(sys.version.split()[0], sys.executable, "yes", sep="\\n")
except ImportError:
    print(sys.version.split()[0], sys.executable, "no", sep="\\n")
"""
RELEASE = re.compile(r"[0-9a-f]{8,64}")
RELEASE_PTH = "t2v-release.pth"


def standing(parameters: Json) -> Json:
    """All that tells whether this host is ready, in one round trip; the Pythons only when something is missing.

    requirements_sha256: what the venv should hold
    """
    root = workspace(parameters)
    said = probe(parameters)
    installed = read_json(root / "venv" / "t2v-installed.json") or {}
    is_whole = said["engine"] and installed.get("requirements_sha256") == take(parameters, "requirements_sha256", str)
    in_use = [path.read_text().strip() for path in root.glob(f"venv/lib/python*/site-packages/{RELEASE_PTH}")]
    hub = Path(os.environ.get("HF_HOME") or expanded("~/.cache/huggingface")) / "hub"
    return {
        **said,
        "installed": installed,
        "in_use": Path(in_use[0]).name if in_use else None,
        "pythons": [] if is_whole else pythons(),
        "hub": sorted(one.name[8:].replace("--", "/") for one in hub.glob("models--*") if any(one.glob("snapshots/*"))),
    }


def pythons() -> list[Json]:
    """Those on the PATH that run, each once, the host's default first."""
    found: dict[str, Json] = {}
    for name in (*PYTHONS, sys.executable):
        program = find_program(name)
        if program is None:
            continue
        with suppress(OSError, ValueError, subprocess.SubprocessError):
            argv = [program, "-I", "-c", ABOUT_PYTHON]
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
            version, path, can = done.stdout.decode().split("\n")[:3]
            found.setdefault(path, {"path": path, "version": version, "makes_venvs": can == "yes"})
    return list(found.values())


def releases(root: Path) -> list[str]:
    """Those that are whole: the others have another name until they are."""
    return sorted(one.name for one in root.glob(".t2v/releases/*") if RELEASE.fullmatch(one.name))


def release_folder(root: Path, release: str) -> Path:
    if not RELEASE.fullmatch(release):
        raise Problem("asked-wrongly", f"{release!r} names no release")
    return root / ".t2v" / "releases" / release


def incoming(parameters: Json) -> Path:
    sha256 = take(parameters, "sha256", str)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise Problem("asked-wrongly", f"{sha256!r} is no sha256")
    return workspace(parameters) / ".t2v" / "incoming" / str(sha256)


def put(parameters: Json) -> Json:
    """A piece of a file that comes under its sha256; says how much of it is there, so that an upload can go on."""
    path, offset = incoming(parameters), take(parameters, "offset", int, 0)
    data = binascii.a2b_base64(take(parameters, "data", str, ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not 0 <= offset <= os.fstat(descriptor).st_size:
            raise Problem("asked-wrongly", f"byte {offset} would leave a hole in {path}")
        while data:
            written = os.pwrite(descriptor, data, offset)
            data, offset = data[written:], offset + written
        return {"size_bytes": os.fstat(descriptor).st_size}
    finally:
        os.close(descriptor)


def unpack_release(parameters: Json) -> Json:
    """Make a release of what came: checked, unpacked under another name, synced, renamed."""
    import shutil  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    source = incoming(parameters)
    folder = release_folder(workspace(parameters), take(parameters, "release", str))
    if not folder.exists():
        if sha256_of(source)["sha256"] != source.name:
            source.unlink(missing_ok=True)
            raise Problem("failed", f"release {folder.name} arrived damaged", "run t2v bootstrap again")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f".partial-{folder.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            with zipfile.ZipFile(source) as file:
                file.extractall(partial)
            for path in [*partial.rglob("*"), partial]:
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody else was quicker
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    source.unlink(missing_ok=True)
    for left in folder.parent.glob(".partial-*"):  # by one that was killed
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)
    return {"releases": releases(workspace(parameters))}


def use_release(parameters: Json) -> Json:
    """What the venv's Python imports from now on; a job that runs already keeps the release that it began with."""
    root = workspace(parameters)
    folder = release_folder(root, take(parameters, "release", str))
    sites = list(root.glob("venv/lib/python*/site-packages"))
    if not folder.is_dir() or not sites:
        raise Problem("not-found", f"there is no {'venv' if folder.is_dir() else folder} to use", "run t2v bootstrap")
    for site in sites:
        write_whole(site / RELEASE_PTH, f"{folder}\n")
    return {"in_use": folder.name}


def with_release(environment: Json, root: Path, release: str | None) -> Json:
    """A job that names a release gets that one, with all its children, whatever is installed meanwhile."""
    if release is None:
        return environment
    folder = release_folder(root, release)
    if not folder.is_dir():
        raise Problem("not-found", f"release {release} is not on this host", "make it ready: t2v bootstrap")
    return {**environment, "PYTHONPATH": ":".join(filter(None, (str(folder), environment.get("PYTHONPATH"))))}


VERBS: dict[str, Callable[[Json], Json]] = {
    "hello": hello, "start": start, "status": status, "stop": stop, "request": leave_request, "ls": ls,
    "hash": hash_files, "gpu": lambda _: gpu_sample(), "probe": probe, "read": read,
    "standing": standing, "put": put, "unpack_release": unpack_release, "use_release": use_release,
}  # fmt: skip


# The wire


OUT = threading.Lock()
LAST_SAID = [0.0]


def write_all(data: bytes) -> None:
    """One line or frame is never mixed with another's."""
    with OUT:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
        LAST_SAID[0] = time.monotonic()


def say_line(value: Json) -> None:
    write_all(json.dumps(value, separators=(",", ":")).encode() + b"\n")


def greeting() -> Json:
    source = Path(__file__).read_bytes()
    return {"agent": hashlib.sha256(source).hexdigest(), "python": ".".join(map(str, sys.version_info[:3]))}


def answer(line: bytes) -> None:
    """One request, {"id", "ask", "with"}; whatever goes wrong becomes its answer."""
    id_ = None
    try:
        asked = json.loads(line)
        id_ = asked["id"]
        verb = VERBS.get(asked["ask"])
        if verb is None:
            raise Problem("asked-wrongly", f"the agent knows no {asked['ask']!r}", f"it knows: {', '.join(VERBS)}")
        say_line({"id": id_, "ok": verb(take(asked, "with", dict, {}))})
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # noqa: BLE001 - one request must not end the others
        say_line({"id": id_, "error": described(error)})


def described(error: Exception) -> Json:
    if isinstance(error, Problem):
        return {"kind": error.kind, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space there" if is_full else "mend its permissions, or choose another workspace"
        return {"kind": "failed", "message": f"{where}{error.strerror or error}", "hint": hint}
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    line = at.tb_lineno if at is not None else 0
    return {"kind": "failed", "message": f"{type(error).__name__}: {error} (agent line {line})", "hint": ""}


def beat() -> None:
    while True:
        time.sleep(BEAT_S / 6)
        if time.monotonic() - LAST_SAID[0] >= BEAT_S:
            try:
                say_line({"beat": time.time()})
            except OSError:
                os._exit(0)


def serve() -> None:
    """Each request in a thread: a slow one does not hold up the others. Ends with stdin; jobs go on."""
    threading.Thread(target=beat, daemon=True).start()
    for line in sys.stdin.buffer:
        threading.Thread(target=answer, args=(line,), daemon=True).start()


def stream(mode: Callable[[Json, Callable[[Json], None]], None]) -> None:
    try:
        mode(json.loads(sys.stdin.buffer.readline()), say_line)
    except Problem as problem:
        say_line({"error": described(problem)})


def supervise_detached(encoded: str | None) -> None:
    """encoded: the parameters when systemd started this, which is detaching enough"""
    if encoded is None:
        parameters = json.loads(sys.stdin.buffer.readline())
        leave_parent()
    else:
        parameters = json.loads(bytes.fromhex(encoded))
    directory = Path(parameters["directory"])
    with told(directory):
        supervise(directory, say_line)


def end_detached() -> None:
    parameters = json.loads(sys.stdin.buffer.readline())
    leave_parent()
    directory = Path(parameters["directory"])
    with told(directory), suppress(BrokenPipeError):  # who asked may be gone
        say_line(end_job(directory, parameters["grace_s"]))


@contextmanager
def told(directory: Path) -> Iterator[None]:
    """Nobody listens to a detached process: what breaks it is written down beside the job."""
    try:
        yield
    except Exception:
        import traceback  # noqa: PLC0415

        (directory / "agent-error").write_text(traceback.format_exc())
        raise


def main(arguments: Sequence[str]) -> int:
    mode = arguments[0] if arguments else ""
    modes: dict[str, Callable[[], None]] = {
        "serve": serve,
        "follow": lambda: stream(follow),
        "metrics": lambda: stream(metrics),
        "supervise": lambda: supervise_detached(arguments[1] if len(arguments) > 1 else None),
        "end": end_detached,
    }
    if mode not in modes:
        sys.stderr.write(f"usage: agent.py {{{','.join(modes)}}}\n")
        return 2
    try:
        if mode in ("serve", "follow", "metrics"):
            say_line(greeting())
        modes[mode]()
    except BrokenPipeError:  # the reader went away
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
