"""What a job cannot say of itself: that it takes no step any more, and that the system killed a process of it.

Whoever waits for the job looks every few seconds: its supervisor, or `t2v` for one that it runs in the foreground.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ..base.files import Json
from ..base.processes import oom_kills, ran_out_of_memory
from .endings import last_events

# Between two looks.
LOOK_S = 5.0
# A training says each step; one whose steps take long is given the time of five.
NO_STEP_S, STEPS = 60.0, 5
MEMORY_HINT = "try a smaller batch, size or model"


def seconds_without_step(events: Iterable[Json], now_t: float) -> float | None:
    """Return for how long a training has taken no step; None when it takes them, or does something else meanwhile.

    events: the newest first
    """
    newest, steps = None, []
    for event in events:
        if event.get("kind") == "alarm":
            continue
        if newest is None and (event.get("kind") in ("done", "error") or event.get("name") == "paused"):
            return None
        newest = newest or event
        if event.get("kind") == "step":
            steps.append(_t(event))
        if len(steps) > STEPS:
            break
    if newest is None or not steps:
        return None
    # The quickest of the last few: one that stood still says nothing about how long they take.
    usual_s = min((later - earlier for later, earlier in zip(steps, steps[1:])), default=0.0)  # 3.9
    return now_t - steps[0] if now_t - _t(newest) > max(NO_STEP_S, STEPS * usual_s) else None


def _t(event: Json) -> float:
    said = event.get("t")
    return float(said) if isinstance(said, (int, float)) else 0.0


class Watchman:
    """Looks after one job that runs, and says each thing once among its events.

    A machine that was asleep has taken no step either, so that is said when it is seen twice.
    """

    def __init__(self, directory: Path, now: Callable[[], float] = time.time) -> None:
        self._directory, self._now = directory, now
        self._oom_before = oom_kills()
        self._look_at_t = 0.0
        self._silent_looks = 0
        self._has_oom = self._is_memory_said = False

    def check(self) -> None:
        """Look at steps and memory, when it is time to; the next look is due in 5 seconds."""
        now_t = self._now()
        if now_t < self._look_at_t <= now_t + LOOK_S:  # else the clock was set
            return
        self._look_at_t = now_t + LOOK_S
        self._look_at_steps(now_t)
        # At the second look: the kernel counts a kill before the process is gone, and it may be the job itself.
        if self._has_oom:
            self.look_at_memory()
        self._has_oom = bool(ran_out_of_memory(self._oom_before))

    def _look_at_steps(self, now_t: float) -> None:
        seconds = None
        with suppress(OSError):
            if now_t - (self._directory / "events.jsonl").stat().st_mtime > NO_STEP_S or self._silent_looks:
                seconds = seconds_without_step(last_events(self._directory), now_t)
        self._silent_looks = 0 if seconds is None else self._silent_looks + 1
        if seconds is not None and self._silent_looks == 2:
            message = f"no step for {seconds:.0f} s, though its process is alive"
            hint = "the log may say more; t2v stop ends it, and --resume goes on from its checkpoint"
            self._say("no-step", message, hint)

    def look_at_memory(self, killed_by: str | None = None) -> None:
        """Say that the system killed a process for want of memory, if it did.

        killed_by: the signal that ended the job
        """
        if self._is_memory_said or not ran_out_of_memory(self._oom_before):
            return
        self._is_memory_said = True
        whom = "it (SIGKILL)" if killed_by == "SIGKILL" else "a process"
        self._say("memory", f"memory ran out: the system killed {whom}", MEMORY_HINT)

    def _say(self, name: str, message: str, hint: str) -> None:
        """Append an event in one write, as the engine does; a full disk has more to say than this."""
        step = next((one.get("step") for one in last_events(self._directory) if one.get("kind") == "step"), None)
        said = {"t": round(self._now(), 3), "kind": "alarm", "name": name, "message": message, "hint": hint}
        line = json.dumps({**said, **({} if step is None else {"step": step})}).encode() + b"\n"
        with suppress(OSError):
            file = os.open(self._directory / "events.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size = os.fstat(file).st_size
                is_torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
                os.write(file, b"\n" + line if is_torn else line)
            finally:
                os.close(file)
