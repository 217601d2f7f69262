"""Tells of a loss that leaps out of those before it, with the clips that it was taken on."""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING

from t2v_core.events import AlarmEvent
from t2v_core.training.callbacks.callback import Callback

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer

STEPS, DEVIATIONS = 200, 5.0
# Of fewer the deviation is a guess.
LEAST_STEPS = 50
# The median of the distances from the median, times this, is the standard deviation of what is normally distributed.
TO_DEVIATION = 1.4826


class LossSpikes(Callback):
    """Compares each loss with the last 200, whose own leaps do not move what they are measured by.

    Of several such steps running the first is told. Source: Iglewicz & Hoaglin 1993 for the deviation.
    """

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=STEPS)
        self._is_high = False

    def on_step_end(self, trainer: Trainer) -> None:
        """Tell when the loss of this step is more than 5 deviations above the middle of those before it."""
        loss, before = trainer.loss, self._losses
        if len(before) >= LEAST_STEPS:
            middle = statistics.median(before)
            deviation = TO_DEVIATION * statistics.median(abs(one - middle) for one in before)
            was_high, self._is_high = self._is_high, loss > middle + DEVIATIONS * deviation
            if self._is_high and not was_high:
                self._say(trainer, middle, (loss - middle) / max(deviation, 1e-12))
        before.append(loss)

    def _say(self, trainer: Trainer, middle: float, deviations: float) -> None:
        clips = trainer.clips()  # of all processes, which agree on the loss
        if trainer.accelerator.is_main_process:
            trainer.job.events.emit(
                AlarmEvent(
                    "loss-spike",
                    f"the loss leapt to {trainer.loss:.4g} at step {trainer.run.step}, {deviations:.0f} deviations "
                    f"above the {middle:.4g} of the steps before",
                    "look at its clips; where it comes again and again, lower --learning-rate",
                    step=trainer.run.step,
                    clips=clips,
                )
            )
