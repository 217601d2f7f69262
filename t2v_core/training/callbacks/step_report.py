"""Each step's figures, for people and for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from t2v_core.events import StepEvent
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.pace.own_work import slowest_of

# Of several processes one is asked for at these steps; all wait for it a moment.
EVERY_STEPS = 10

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer


class StepReport(Callback):
    """Writes one event a step."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Report the step that was just taken."""
        run = trainer.run
        taken = run.step - 1
        slowest = self._slowest(trainer)
        step = StepEvent(
            step=run.step,
            total=run.total_steps,
            epoch=run.plan.epoch_of(taken) + 1,
            loss=round(trainer.loss, 6),
            learning_rate=run.learning_rate(taken),
            grad_norm=round(trainer.grad_norm, 4),
            **run.clock.rates(run.plan.usual_clips_per_step),
            **slowest,
        )
        if trainer.accelerator.is_main_process:
            trainer.job.events.emit(step)
            run.tracker.step(run.step, step.figures())

    def _slowest(self, trainer: Trainer) -> _Slowest:
        if trainer.accelerator.num_processes == 1 or trainer.run.step % EVERY_STEPS:
            return {}
        waited_s, _ = trainer.run.clock.last
        found = slowest_of(trainer.accelerator, trainer.own_work.seconds(waited_s))
        return {"slowest_rank": found.rank, "slowest_s": found.own_s, "median_s": found.median_s}


class _Slowest(TypedDict, total=False):
    slowest_rank: int
    slowest_s: float
    median_s: float
