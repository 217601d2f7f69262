"""Jobs: make one, run it here, and say how it ended.

A job is a directory; whoever can read it knows everything. The engine writes `events.jsonl` and its output goes to
`log`; this side writes `state.json` at the start and `exit.json` last.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from remote.agent.base.elsewhere import this_machine
from remote.agent.base.processes import boot_id, oom_kills, process, ran_out_of_memory, signal_name, this_moment
from remote.agent.jobs.alarms import Watchman
from remote.agent.jobs.endings import INTERRUPTED, STOPPED, how_it_ended
from remote.errors import CannotStart
from t2v_core.disk.files import write_json
from t2v_core.errors import EngineError
from t2v_core.events import DoneEvent, Event, EventReader, read_events
from t2v_core.workspace import Workspace, create_job_directory

if TYPE_CHECKING:
    from t2v_core.specs import Spec

POLL_INTERVAL_S = 0.05
# How long a child may take to end once nobody listens any more.
GRACE_S = 10.0


@dataclass(frozen=True)
class JobHandle:
    """One job's directory, `jobs/<id>/`, and the verb it is for."""

    directory: Path
    verb: str

    @property
    def log(self) -> Path:
        """Return the file with all that the job prints."""
        return self.directory / "log"

    @property
    def events(self) -> Path:
        """Return the file with the job's events, one JSON line each."""
        return self.directory / "events.jsonl"

    def result(self) -> DoneEvent | None:
        """Return the `done` event, or None when the job did not get that far."""
        return next((event for event in read_events(self.events) if isinstance(event, DoneEvent)), None)


@dataclass(frozen=True)
class Exit:
    """How a job ended, as `exit.json` says it.

    code:   0 done, 1 failed, 2 invalid request, 4 stopped, 130 interrupted
    signal: its name when the process was ended by one, as SIGKILL
    reason: one sentence
    hint:   the next thing to do; may be empty
    ended:  Unix time in seconds
    """

    code: int
    signal: str | None
    reason: str
    hint: str
    ended: float


def create(workspace: Workspace, verb: str, spec: Spec) -> JobHandle:
    """Make `jobs/<id>/` with its `spec.json`. Raises InvalidRequest or WorkFailed when it cannot be written."""
    try:
        directory = create_job_directory(workspace, verb)
    except OSError as error:
        raise CannotStart(
            f"cannot make a job in {workspace.jobs}: {error.strerror}", hint="choose another --workspace"
        ) from error
    from t2v_core.specs import asked_values  # 0.05 s that a transfer and a look need not pay

    write_json(directory / "spec.json", asked_values(spec))
    return JobHandle(directory, verb)


@dataclass
class Run:
    """The engine at work on one job, here.

    argv: what is started: the engine, or another program in tests

    Use it as a context manager: leaving it ends a child that still runs.
    """

    job: JobHandle
    argv: Sequence[str]
    exit: Exit | None = field(default=None, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _asked: list[signal.Signals] = field(default_factory=list, init=False)
    _oom_before: dict[str, Any] = field(default_factory=dict, init=False)

    def start(self) -> None:
        """Start the child in its own session, so that a Ctrl-C of the terminal reaches it only through us."""
        self._oom_before = oom_kills()
        with self.job.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
            except OSError as error:
                raise CannotStart(f"cannot start {self.argv[0]}: {error.strerror}") from error
        for number in self._asked:
            self._deliver(number)
        state = {"pid": self._process.pid, "boot_id": boot_id(), "machine": this_machine(), "started": time.time()}
        # What it was started with does not tell of a program that becomes another, as `nice` does.
        found = process(self._process.pid)
        began = {} if found is None else {"start_ticks": found.start_ticks}
        write_json(self.job.directory / "state.json", {**state, **began, "argv": list(self.argv)})

    def batches(self) -> Iterator[list[Event]]:
        """Yield the new events about twenty times a second, often none, until the child's end, when `exit` is known."""
        if self._process is None:
            raise RuntimeError("start() comes first")
        reader, watchman = EventReader(self.job.events), Watchman(self.job.directory)
        is_running = True
        while is_running:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=POLL_INTERVAL_S)
                is_running = False  # one more look, for what was written just before the end
                watchman.look_at_memory(self._killed_by)
            watchman.check()
            yield reader.poll()
        self._finish(self._process.returncode)

    def __iter__(self) -> Iterator[Event]:
        for batch in self.batches():
            yield from batch

    def interrupt(self) -> None:
        """Ask the child to end after this step, as Ctrl-C does; asked a second time, kill its whole group."""
        self._ask(signal.SIGKILL if signal.SIGINT in self._asked else signal.SIGINT)

    def terminate(self) -> None:
        """Ask the child to end after this step, as SIGTERM does; asked a second time, kill its whole group."""
        self._ask(signal.SIGKILL if signal.SIGTERM in self._asked else signal.SIGTERM)

    @property
    def was_asked_to_end(self) -> bool:
        """Tell whether the child was asked to end, in whatever way."""
        return bool(self._asked)

    @property
    def kill_was_asked(self) -> bool:
        """Tell whether the child's group was killed on request."""
        return signal.SIGKILL in self._asked

    def _ask(self, number: signal.Signals) -> None:
        self._asked.append(number)
        if self._process is not None:
            self._deliver(number)

    def _deliver(self, number: signal.Signals) -> None:
        """A request goes to the engine alone, which ends its helpers itself; a kill goes to them all."""
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def _finish(self, returncode: int) -> None:
        if returncode < 0:  # what a killed engine leaves behind: workers of its data loader
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.job_pid, signal.SIGKILL)
        self.exit = self._how_it_ended(returncode)
        # The child is gone and its events are read; a full disk must not hide how it ended.
        with suppress(EngineError):
            write_json(self.job.directory / "exit.json", {**asdict(self.exit), **this_moment()})

    @property
    def _killed_by(self) -> str | None:
        code = self._process.returncode if self._process is not None else None
        return signal_name(-code) if code is not None and code < 0 else None

    @property
    def job_pid(self) -> int:
        """Return the child's process id, which is also its group's and session's."""
        if self._process is None:
            raise RuntimeError("start() comes first")
        return self._process.pid

    def _how_it_ended(self, returncode: int) -> Exit:
        asked = INTERRUPTED if signal.SIGINT in self._asked else STOPPED if self._asked else None
        ended = how_it_ended(self.job.directory, returncode, ran_out_of_memory(self._oom_before), asked)
        assert ended is not None  # only of a job that nobody saw end there may be nothing to say
        return Exit(**ended)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, _kind: object, _error: object, _trace: object) -> None:
        if self._process is None or self.exit is not None:
            return
        self.terminate()
        try:
            self._process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            self._ask(signal.SIGKILL)
            self._process.wait(timeout=GRACE_S)
        self._finish(self._process.returncode)


def run_here(job: JobHandle, *, argv: Sequence[str] | None = None) -> Run:
    """Return a run of the engine on `job` in this machine's Python, not yet started.

    argv: another program, for tests
    """
    return Run(job, argv or [sys.executable, "-m", "t2v_core", job.verb, str(job.directory)])


@contextmanager
def forwarding_signals(run: Run, noticed: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Forward signals while inside: Ctrl-C asks the child to end (twice: kills it).

    SIGTERM and a closed terminal ask it to stop.

    noticed: called from the handler; it may set a flag, and must not write to the terminal
    """

    def forward(number: int, _frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if received is signal.SIGINT:
            run.interrupt()
        elif not (received is signal.SIGHUP and run.was_asked_to_end):
            run.terminate()
        noticed(received)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[signal.Signals, Any] = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
