"""What memory and disk the run takes, said before it takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.preflight import tell_before_training

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer


class Forecast(Callback):
    """Tells once, and warns of what is not there."""

    def on_start(self, trainer: Trainer) -> None:
        """Say what the run takes. It never keeps a run from starting."""
        if trainer.accelerator.is_main_process:
            tell_before_training(trainer.run, trainer.job)
