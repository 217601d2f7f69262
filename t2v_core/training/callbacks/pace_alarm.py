"""Tells when a run has become slow and stays so, and what can be seen of why."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from t2v_core.events import AlarmEvent
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.pace.slowness import PROC, Stretch, causes, swapped_bytes

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer

SLOWER, FOR_S = 1.5, 120.0
# Fewer steps have no median worth the name, and more than these say nothing about the pace of late.
LEAST_USUAL, MOST_USUAL = 20, 1000
LOOK_S = 5.0


class _Step(NamedTuple):
    """One step. end: by the clock; waited: of its seconds, for data; swapped: bytes, by its end"""

    end: float
    seconds: float
    waited: float
    swapped: int


class PaceAlarm(Callback):
    """Compares the steps of the last two minutes with those before them, each by its median.

    It says once that they are slow, and again only after they were as usual. What callbacks take between steps, such as
    samples, does not count.

    now, proc: the clock, and where the system tells about itself
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, proc: Path = PROC) -> None:
        self._now, self._proc = now, proc
        self._late: deque[_Step] = deque()
        self._usual: deque[_Step] = deque(maxlen=MOST_USUAL)
        self._looked = self._swapped = 0
        self._look_at = 0.0
        self._is_said = False

    def on_step_end(self, trainer: Trainer) -> None:
        """Take note of the step, and look at the pace every few seconds."""
        if not trainer.accelerator.is_main_process:
            return
        now = self._now()
        is_due = now >= self._look_at
        if is_due:
            self._look_at, self._swapped = now + LOOK_S, swapped_bytes(self._proc)
        waited, computed = trainer.run.clock.last
        self._late.append(_Step(now, waited + computed, waited, self._swapped))
        while self._late and self._late[0].end < now - FOR_S:
            self._usual.append(self._late.popleft())
        if is_due and len(self._usual) >= LEAST_USUAL:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        usual_s = statistics.median(step.seconds for step in self._usual)
        late_s = statistics.median(step.seconds for step in self._late)
        if late_s <= SLOWER * usual_s:
            self._is_said = False
        elif not self._is_said:
            self._is_said = True
            self._say(trainer, late_s, usual_s)

    def _say(self, trainer: Trainer, late_s: float, usual_s: float) -> None:
        late, usual = list(self._late), list(self._usual)
        slow = Stretch(
            sum(step.seconds for step in late), sum(step.waited for step in late), late[-1].swapped - usual[-1].swapped
        )
        waiting = sum(step.waited for step in usual) / sum(step.seconds for step in usual)
        cause = "; ".join(causes(slow, waiting, trainer.accelerator.device, proc=self._proc))
        trainer.job.events.emit(
            AlarmEvent(
                "pace",
                f"a step has taken {late_s:.3g} s for two minutes, {late_s / usual_s:.1f} times as long as before",
                cause or "nothing on this machine explains it",
                step=trainer.run.step,
                cause=cause,
            )
        )
