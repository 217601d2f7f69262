"""Checkpoints: at the end of epochs, at the last step, when somebody asks, and before a run that is stopped ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2v_core.checkpoints.checkpoints import Checkpoint
from t2v_core.errors import Stopped
from t2v_core.events import CheckpointEvent
from t2v_core.training.callbacks.callback import Callback

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer


class Saving(Callback):
    """Begins to write a checkpoint, and announces it at the first step at which it is complete.

    Training goes on while one is written. Whoever reads the event may use it.
    """

    def __init__(self) -> None:
        self._reason = ""

    def on_step_start(self, trainer: Trainer) -> None:
        """Hand over what was completed beside the last step."""
        self._hand_over(trainer, wait=False)

    def on_step_end(self, trainer: Trainer) -> None:
        """Save when a checkpoint is due."""
        if is_due(trainer):
            self._hand_over(trainer, wait=True)
            self._begin(trainer, "due")

    def on_end(self, trainer: Trainer) -> None:
        """Wait for the last one."""
        self._hand_over(trainer, wait=True)

    def on_stop(self, trainer: Trainer, stopped: Stopped) -> Stopped:
        """Save the last step, so that nothing is lost; there is nothing to save before the first."""
        run = trainer.run
        self._announce(trainer, wait=True)
        if run.step == 0:
            return Stopped(f"{stopped.message} before the first step", exit_code=stopped.exit_code)
        if not run.is_saved:
            self._begin(trainer, "stopped")
            self._announce(trainer, wait=True)
        return Stopped(
            f"{stopped.message} after step {run.step} of {run.total_steps}; "
            f"saved {trainer.job.workspace.relative(run.checkpoint_path())}",
            hint="continue with: t2v train --resume",
            exit_code=stopped.exit_code,
        )

    def on_failure(self, trainer: Trainer) -> None:
        """Let what is being written become whole, whatever came after it."""
        self._announce(trainer, wait=True)

    def save_as_asked(self, trainer: Trainer) -> None:
        """Save the last step, unless there is a checkpoint of it, and wait until it is complete."""
        self._hand_over(trainer, wait=True)
        if not trainer.run.is_saved:
            self._begin(trainer, "asked")
            self._hand_over(trainer, wait=True)

    def _begin(self, trainer: Trainer, reason: str) -> None:
        trainer.run.save()
        self._reason = reason

    def _announce(self, trainer: Trainer, *, wait: bool) -> Checkpoint | None:
        checkpoint = trainer.run.saved(wait=wait)
        if checkpoint is not None:
            path, epoch = str(trainer.job.workspace.relative(checkpoint.path)), checkpoint.info["epoch"]
            trainer.job.events.emit(CheckpointEvent(path, epoch, checkpoint.step, self._reason))
        return checkpoint

    def _hand_over(self, trainer: Trainer, *, wait: bool) -> None:
        """Announce what is complete to people, then to the other callbacks."""
        checkpoint = self._announce(trainer, wait=wait)
        if checkpoint is not None:
            trainer.hand_over(checkpoint)


def is_due(trainer: Trainer) -> bool:
    """Return True after the last step of each epoch that ends with a checkpoint, and of the run."""
    run = trainer.run
    epochs, place = divmod(run.step, run.plan.steps_per_epoch)
    return run.step == run.total_steps or (place == 0 and epochs % run.spec.checkpoint_every == 0)
