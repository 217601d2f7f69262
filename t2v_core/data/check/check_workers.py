"""Child processes that decode clips, each with a time limit: what hangs or kills one costs that clip, not the run.

A thread cannot be ended from outside, and a decoder that spins inside C++ hears no signal but SIGKILL.
Where memory runs out, the clip is tried again alone; if it is not enough then, the run ends, and the clip is as good as
it was.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core.data.check.check_clip import NO_MEMORY
from t2v_core.errors import NotEnoughMemory, WorkFailed

CHILD = (sys.executable, "-m", "t2v_core.data.check.check_clip")
# How long a request to stop may go unheard.
WAKE_S = 0.2
# A child that needs longer to load two libraries is on a machine where nothing works.
START_TIMEOUT_S = 120.0
# What kills a child may have come from outside; what kills two is the clip.
TRIES = 2


@dataclass
class Task:
    """What to do with which file. tries: how many children have died of it"""

    name: str
    path: Path
    tries: int = 0


Answer = dict[str, Any]


class _Child:
    """One process; ready when it has said so, busy while it has a task."""

    def __init__(self) -> None:
        # A process group of its own: Ctrl-C in the terminal is for the parent, which ends the children.
        self.process = subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
        self.is_ready = False
        self.task: Task | None = None
        self.deadline = time.monotonic() + START_TIMEOUT_S
        self._received = b""

    def give(self, task: Task, timeout_s: float) -> None:
        """Send it a task, which may take `timeout_s` from now; that it died while idle is found at the next read."""
        self.task, self.deadline = task, time.monotonic() + timeout_s
        if self.process.stdin is None:
            raise RuntimeError("the child has no stdin")
        request = {"task": task.name, "path": str(task.path.absolute())}
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # it died while idle; its end is read next, and the task given again

    def receive(self) -> list[Answer] | None:
        """Return the answers of whole lines that have come; None when the child has ended."""
        data = os.read(self.fileno(), 1 << 20)
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def fileno(self) -> int:
        """Return the descriptor of its stdout, as a selector asks for it."""
        if self.process.stdout is None:
            raise RuntimeError("the child has no stdout")
        return self.process.stdout.fileno()

    def end(self) -> int:
        """Kill it, whatever it is doing, or bury it; returns its exit code, negative for a signal."""
        self.process.kill()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code


class CheckWorkers:
    """At most `count` children at a time; use as a context manager, so that none outlives it.

    timeout_s: what one clip may take
    while_waiting: called several times a second; may raise
    """

    def __init__(self, count: int, *, timeout_s: float, while_waiting: Callable[[], None]) -> None:
        self.count, self.timeout_s, self.while_waiting = count, timeout_s, while_waiting
        self._selector = selectors.DefaultSelector()
        self._children: list[_Child] = []
        self._todo: deque[Task] = deque()

    def __enter__(self) -> CheckWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for child in list(self._children):
            self._remove(child)
        self._selector.close()

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Yield every task with its answer, as they come.

        Raises WorkFailed when children cannot start, NotEnoughMemory when a clip cannot even be decoded alone.
        """
        self._todo.extend(tasks)
        while self._todo or any(child.task for child in self._children):
            self._keep_busy()
            for key, _ in self._selector.select(WAKE_S):
                yield from self._read(key.data)
            self.while_waiting()
            yield from self._end_overdue()

    def _keep_busy(self) -> None:
        idle = [child for child in self._children if child.is_ready and child.task is None]
        while idle and len(self._children) > self.count:
            self._remove(idle.pop())
        busy = sum(child.task is not None for child in self._children)
        for child in idle[: min(len(self._todo), self.count - busy)]:
            child.give(self._todo.popleft(), self.timeout_s)
        starting = sum(not child.is_ready for child in self._children)
        for _ in range(min(self.count - len(self._children), len(self._todo) - starting)):
            child = _Child()
            self._children.append(child)
            self._selector.register(child, selectors.EVENT_READ, data=child)

    def _read(self, child: _Child) -> Iterator[tuple[Task, Answer]]:
        answers = child.receive()
        if answers is None:
            yield from self._bury(child)
            return
        for answer in answers:
            if "ready" in answer:
                child.is_ready, child.deadline = True, float("inf")
            elif child.task is not None:
                task, child.task, child.deadline = child.task, None, float("inf")
                if NO_MEMORY in answer:
                    self._try_alone(task)
                else:
                    yield task, answer

    def _try_alone(self, task: Task) -> None:
        """From now on one child at a time, this task first. Raises NotEnoughMemory when that did not help."""
        task.tries += 1
        if self.count == 1 and task.tries >= TRIES:
            raise NotEnoughMemory(
                f"not enough memory to decode {task.path.name}, even with nothing else running",
                hint="give this machine or this job more, or take the clip out of videos/; it is not listed as bad",
            )
        self.count = 1
        self._todo.appendleft(task)

    def _bury(self, child: _Child) -> Iterator[tuple[Task, Answer]]:
        """A child has ended by itself: its clip is tried once more, in another one."""
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(START_TIMEOUT_S)  # its pipe is closed, so it is on its way out
        code = self._remove(child)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        if not child.is_ready:
            raise WorkFailed(f"a decoding process {how} before its first clip", hint="the job's log says more")
        if child.task is None:
            return
        if code == -signal.SIGKILL:  # no decoder does that to itself; the kernel does when memory is used up
            self._try_alone(child.task)
            return
        child.task.tries += 1
        if child.task.tries < TRIES:
            self._todo.appendleft(child.task)
        else:
            yield child.task, {"reason": "decoder-crash", "detail": f"the decoder {how}, {TRIES} times"}

    def _end_overdue(self) -> Iterator[tuple[Task, Answer]]:
        now = time.monotonic()
        for child in [child for child in self._children if now > child.deadline]:
            self._remove(child)
            if child.task is None:
                raise WorkFailed(
                    f"a decoding process was not ready after {START_TIMEOUT_S:g} s", hint="the job's log says more"
                )
            detail = f"decoding it took longer than {self.timeout_s:g} s"
            yield child.task, {"reason": "timeout", "detail": detail, "timeout_s": self.timeout_s}

    def _remove(self, child: _Child) -> int:
        self._selector.unregister(child)
        self._children.remove(child)
        return child.end()
