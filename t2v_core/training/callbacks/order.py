"""The callbacks of `t2v train`, in the order in which each moment reaches them."""

from __future__ import annotations

from t2v_core.training.callbacks.callback import Callback
from t2v_core.training.callbacks.forecast import Forecast
from t2v_core.training.callbacks.gpu_report import GpuReport
from t2v_core.training.callbacks.held_out_loss import HeldOutLoss
from t2v_core.training.callbacks.loss_spikes import LossSpikes
from t2v_core.training.callbacks.pace_alarm import PaceAlarm
from t2v_core.training.callbacks.prompt_score import PromptScore
from t2v_core.training.callbacks.requests import Requests
from t2v_core.training.callbacks.samples import Samples
from t2v_core.training.callbacks.saving import Saving
from t2v_core.training.callbacks.step_report import StepReport


def training_callbacks() -> list[Callback]:
    """Return new callbacks for one run."""
    saving = Saving()
    return [
        Forecast(),
        Requests(saving),  # before Saving: a run that was asked to stop begins nothing else
        StepReport(),  # before what may take minutes: whoever watches sees the step at once
        PaceAlarm(),
        LossSpikes(),
        GpuReport(),
        HeldOutLoss(),  # before Saving: the checkpoint of this step holds the loss, and is ranked by it
        PromptScore(),  # as is the loss
        saving,
        Samples(),
    ]
