"""What a run is asked for while it trains: to stop, to pause, to save. Processes of one run answer at the same step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator

from t2v_core.errors import Stopped
from t2v_core.job import PAUSE_POLL_S, Job
from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.callbacks.saving import Saving

if TYPE_CHECKING:
    from t2v_core.training.trainer import Trainer


class Requests(Callback):
    """Answers the files in the job's directory, and signals, before each step."""

    def __init__(self, saving: Saving) -> None:
        self._saving = saving

    def on_step_start(self, trainer: Trainer) -> None:
        """Answer. A request to save stays until there is a step to save, and goes when the checkpoint is complete."""
        is_asked_to_save = answer_requests(trainer.job, trainer.accelerator)
        if is_asked_to_save and trainer.run.step > 0:
            self._saving.save_as_asked(trainer)
            if trainer.accelerator.is_main_process:
                trainer.job.has_saved()


def answer_requests(job: Job, accelerator: Accelerator) -> bool:
    """Raise Stopped, wait while paused, or return True when a checkpoint is asked for; called between steps.

    Several processes agree each time: one that stopped, paused or saved alone would leave the others in a collective
    until its timeout ends them. While they pause they go on agreeing, so that no collective is ever waited for.
    """
    if accelerator.num_processes == 1:
        job.check_stop()
        return job.is_asked_to_save()
    while True:
        stopped = job.stop_request()
        asked = [stopped.exit_code if stopped else 0, int(job.is_paused()), int(job.is_asked_to_save())]
        told = accelerator.gather(torch.tensor([asked], device=accelerator.device))
        code, is_paused, is_asked_to_save = torch.as_tensor(told).amax(0).tolist()
        if code:
            raise stopped or Stopped("stopped with the other processes of this run", exit_code=code)
        if not is_paused:
            return bool(is_asked_to_save)
        time.sleep(PAUSE_POLL_S)
