"""When a training calls what it does beside its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.errors import Stopped

if TYPE_CHECKING:  # the trainer calls callbacks and is handed to them
    from t2v_core.training.trainer import Trainer


class Callback:
    """One behaviour beside the steps; a subclass overrides the moments that it needs.

    Every process of a run calls every callback, in the order of the list. What one process does for all asks
    `trainer.accelerator.is_main_process`, and `trainer.check_stop_alone` while it takes long. Random numbers come from
    `generator_for` with a purpose of their own: drawn from torch's generator, they would change the run.
    What a callback raises ends the run.
    """

    def on_start(self, trainer: Trainer) -> None:
        """Act once, before the first step; also in a resumed run that has no step left."""

    def on_step_start(self, trainer: Trainer) -> None:
        """Act before a step, where everything is whole. Raises Stopped to end the run there."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Act after a step: it is counted in `trainer.run.step`; `loss` and `grad_norm` of the trainer are its."""

    def on_checkpoint(self, trainer: Trainer, checkpoint: Checkpoint) -> None:
        """Act on a checkpoint that is complete; not on one that is saved because the run ends early."""

    def on_end(self, trainer: Trainer) -> None:
        """Act after the last step."""

    def on_stop(self, trainer: Trainer, stopped: Stopped) -> Stopped:  # for those that override it
        """Act when the run was asked to end; returns what to tell people, which may say more than `stopped` does."""
        return stopped

    def on_failure(self, trainer: Trainer) -> None:
        """Act when a step or a callback failed; the error is raised afterwards."""
