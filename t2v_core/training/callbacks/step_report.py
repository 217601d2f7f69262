"""Each step's figures, for people and for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2v_core.events import StepEvent
from t2v_core.training.callbacks.callback import Callback

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer


class StepReport(Callback):
    """Writes one event a step."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Report the step that was just taken."""
        run = trainer.run
        taken = run.step - 1
        step = StepEvent(
            step=run.step,
            total=run.total_steps,
            epoch=run.plan.epoch_of(taken) + 1,
            loss=round(trainer.loss, 6),
            learning_rate=run.learning_rate(taken),
            grad_norm=round(trainer.grad_norm, 4),
            **run.clock.rates(run.plan.clips_per_step),
        )
        if trainer.accelerator.is_main_process:
            trainer.job.events.emit(step)
            run.tracker.step(run.step, step.figures())
