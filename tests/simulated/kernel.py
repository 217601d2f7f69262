"""Processes of a simulated machine: each thread of them is a greenlet that hands the machine on, so all is repeatable.

Whoever sleeps or waits hands the machine on; time passes only when everybody does. A process is killed by an exception
at its next call of the system, before that call does anything: so it ends between any two things that it does.
Greenlets and not threads: a schedule hands on 600 times, and on a busy machine each waited for the system's scheduler.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet

INIT = 1
close = os.close  # before anybody takes its place
LOOKED_AT_EVERY = 80
MOST_CALLS = 300_000
# One that polls and finds nothing changed looks again later and later, by at most this part of how long it has polled.
LATENESS = 0.25
# A queue that is looked at five times less often has the same races, and was a quarter of the time that schedules take.
QUEUE_POLL_S = 1.0


class Killed(BaseException):
    """Ends a process without anything more that it does."""


class Exited(BaseException):
    """Ends a process by its own will."""


class Livelock(Exception):
    """Somebody does the same for ever without time passing."""


@dataclass(eq=False)
class Task:
    """A thread of a process. wake: when it goes on; is_ready: or before that, once this is true"""

    process: Process
    work: Callable[[], object]
    wake: float
    order: int
    thread: greenlet | None = None  # once it has begun
    is_ready: Callable[[], bool] | None = None
    polled_from: float = 0.0
    polled_at: int = -1
    is_over: bool = False

    def body(self) -> None:
        process, kernel = self.process, self.process.kernel
        try:
            if process.ended is None:
                self.work()
            if self is process.main:
                kernel.end(process, 0)
        except Killed:
            pass
        except Exited as exited:
            kernel.end(process, int(exited.args[0]) << 8)
        except SystemExit as asked:
            kernel.end(process, (asked.code if isinstance(asked.code, int) else 0) << 8)
        except Exception as error:  # noqa: BLE001 - told by whoever runs the schedule
            kernel.crashes.append((process.name, error))
            if self is process.main:
                kernel.end(process, 1 << 8)
        finally:
            self.is_over = True
            kernel.tasks.remove(self)


@dataclass(eq=False)
class Process:
    kernel: Kernel
    pid: int
    parent: int
    name: str
    environment: dict[str, str]
    argv: list[str]
    group: int = 0
    session: int = 0
    main: Task | None = None
    ended: int | None = None  # as os.waitpid has it
    is_subreaper: bool = False
    handlers: dict[int, Any] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    files: set[int] = field(default_factory=set)
    pipes: set[int] = field(default_factory=set)
    begun_at: float = 0.0
    start_ticks: int = 0  # unique, since the numbers of an earlier boot come again
    dies_in: int | None = None  # calls of the system from now
    said: list[Any] = field(default_factory=list)


class Kernel:
    """now: seconds since the machine was made; wall_offset: what the wall clock is ahead of that"""

    def __init__(self) -> None:
        self.now, self.wall_offset, self.booted, self.boots = 0.0, 1_800_000_000.0, 0.0, 0
        self.tasks: list[Task] = []
        self.processes: dict[int, Process] = {}
        self.zombies: list[Process] = []
        self.current: Task | None = None
        self.until, self.changes, self.calls, self.order, self.next_pid = 0.0, 0, 0, 0, 300
        self.crashes: list[tuple[str, Exception]] = []
        self.home, self.turns, self.thread_at_home = getcurrent(), 0, threading.get_ident()
        self.on_turn: Callable[[], None] = lambda: None
        self.call_s: Callable[[], float] = lambda: 0.0005
        self.on_end: Callable[[Process], None] = lambda _: None
        self.cut_in: int | None = None
        self.cut: Callable[[], None] = lambda: None

    # Processes

    def begin(
        self, name: str, work: Callable[[], object], *, parent: int = INIT, environment: dict[str, str], argv: list[str]
    ) -> Process:
        self.next_pid += 1
        one = Process(self, self.next_pid, parent, name, environment, argv, begun_at=self.now)
        above = self.processes.get(parent)
        one.group, one.session = (above.group, above.session) if above else (one.pid, one.pid)
        self.processes[one.pid] = one
        one.main, one.start_ticks = self.thread(one, work), 1000 * self.boots + one.pid
        self.changed()
        return one

    def thread(self, process: Process, work: Callable[[], object], after_s: float = 0.0) -> Task:
        self.order += 1
        task = Task(process, work, self.now + after_s, self.order)
        self.tasks.append(task)
        return task

    def asks(self) -> bool:
        """Whether it is the machine that asks the system for something, and not the test or a thread beside it."""
        return self.current is not None and threading.get_ident() == self.thread_at_home

    @contextmanager
    def outside(self) -> Iterator[None]:
        """While inside, the real system is meant."""
        before, self.current = self.current, None
        try:
            yield
        finally:
            self.current = before

    def end(self, process: Process, status: int) -> None:
        """Take it out of the table; its threads end where they stand, and its children fall to another."""
        if process.ended is not None:
            return
        process.ended = status
        del self.processes[process.pid]
        for task in [one for one in self.tasks if one.process is process and one is not self.current]:
            self.finish(task)
        for descriptor in process.files:
            close(descriptor)
        process.files.clear()
        process.pipes.clear()
        self.hand_on_children(process)
        if process.parent in self.processes:
            self.zombies.append(process)
            self.send(process.parent, signal.SIGCHLD)
        self.changed()
        self.on_end(process)

    def finish(self, task: Task) -> None:
        """Let a thread of a process that has ended run out of what it is in."""
        if task.thread is None:
            task.is_over = True
            self.tasks.remove(task)
            return
        here, self.current = self.current, task
        task.thread.parent = getcurrent()
        task.thread.switch()
        self.current = here

    def hand_on_children(self, process: Process) -> None:
        self.zombies = [one for one in self.zombies if one.parent != process.pid]
        above = self.processes.get(process.parent)
        while above is not None and not above.is_subreaper:
            above = self.processes.get(above.parent)
        for child in self.processes.values():
            if child.parent == process.pid:
                child.parent = above.pid if above is not None else INIT

    def send(self, pid: int, number: int) -> None:
        """Raises ProcessLookupError."""
        one = self.processes.get(pid)
        if one is None:
            raise ProcessLookupError(3, "no such process")
        handler = one.handlers.get(number, signal.SIG_DFL)
        is_ignored = handler == signal.SIG_IGN and number != signal.SIGKILL
        if is_ignored or (number == signal.SIGCHLD and not callable(handler)):
            return
        if callable(handler) and number != signal.SIGKILL:
            one.pending.append(number)
            self.changed()
            return
        self.end(one, int(number))
        if self.current is not None and self.current.process is one:
            raise Killed

    # Time

    def run(self, seconds: float, is_enough: Callable[[], bool] | None = None) -> None:
        """Let everybody run for so long, or until `is_enough`. From outside of the machine."""
        self.until = self.now + seconds
        while not (is_enough is not None and is_enough()):
            task = self.next_task()
            if task is None or self.wake_of(task) > self.until:
                self.now = max(self.now, self.until)
                return
            self.now = max(self.now, self.wake_of(task))
            self.go_on(task)
            self.turns += 1
            if self.turns % LOOKED_AT_EVERY == 0:
                self.on_turn()
            if self.crashes and isinstance(self.crashes[-1][1], Livelock):
                return

    def next_task(self) -> Task | None:
        """The one that goes on first, of several the one that waits for longest."""
        first, first_wake = None, math.inf
        for task in self.tasks:
            wake = task.wake if task.is_ready is None else self.wake_of(task)
            if first is None or wake < first_wake or (wake == first_wake and task.order < first.order):
                first, first_wake = task, wake
        return first

    def wake_of(self, task: Task) -> float:
        if task.is_ready is None:
            return task.wake
        is_called = bool(task.process.pending) and task is task.process.main
        return self.now if is_called or task.is_ready() else task.wake

    def go_on(self, task: Task) -> None:
        if task.thread is None:
            task.thread = greenlet(task.body, self.home)
        self.current = task
        task.thread.switch()
        self.current = None

    def wait(self, wake: float, is_ready: Callable[[], bool] | None = None) -> None:
        """In a task: hand the machine on until `wake`, or until `is_ready`."""
        task = self.current
        assert task is not None
        if task.process.ended is not None:
            raise Killed
        self.order += 1
        task.wake, task.is_ready, task.order = wake, is_ready, self.order
        if is_ready is not None or wake > self.until or self.next_task() is not task:
            self.home.switch()
        else:
            self.now = max(self.now, wake)
        task.is_ready = None
        if task.process.ended is not None:
            raise Killed
        self.hear(task)

    def hear(self, task: Task) -> None:
        """Signals that came are answered, as Python does, by the first thread."""
        while task is task.process.main and task.process.pending:
            number = task.process.pending.pop(0)
            handler = task.process.handlers.get(number)
            if callable(handler):
                handler(number, None)

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float = math.inf) -> bool:
        """False when it took longer."""
        deadline = self.now + timeout_s
        while not is_ready():
            if self.now >= deadline:
                return False
            self.wait(deadline, is_ready)
        return True

    def sleep(self, seconds: float) -> None:
        task = self.current
        assert task is not None
        if seconds > QUEUE_POLL_S:
            self.wait(self.now + seconds)
            return
        if task.polled_at != self.changes:
            task.polled_from, task.polled_at = self.now, self.changes
        seen, later = self.changes, self.now + max(seconds, LATENESS * (self.now - task.polled_from))
        self.wait(self.now + seconds)
        if self.changes == seen and later > self.now:
            self.wait(later, lambda: self.changes != seen)

    def changed(self) -> None:
        self.changes += 1

    def call(self, *, is_change: bool = True) -> None:
        """A call of the system begins: it takes a moment, in which others may run, and may be the process's last."""
        task = self.current
        assert task is not None
        process = task.process
        if process.ended is not None:
            raise Killed
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise Livelock(f"more than {MOST_CALLS} calls of the system, at last by {process.name}")
        if self.cut_in is not None:
            self.cut_in -= 1
            if self.cut_in <= 0:
                self.cut_in = None
                self.cut()
                raise Killed
        if process.dies_in is not None:
            process.dies_in -= 1
            if process.dies_in <= 0:
                self.end(process, int(signal.SIGKILL))
                raise Killed
        self.wait(self.now + self.call_s())
        if is_change:
            self.changed()
