"""Where a run's figures go beside the events and TensorBoard: a tracker that Accelerate knows, by `--log-with`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from accelerate import Accelerator

from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.specs import TrainSpec

TENSORBOARD = "tensorboard"
# Of the project that a run is shown in; WANDB_PROJECT or TRACKIO_PROJECT says another.
PROJECT = "t2v"
HINTS = {
    "wandb": "wandb login on the machine that trains; or WANDB_MODE=offline, and later wandb sync in the job's folder",
    "trackio": "--log-with tensorboard",
}


def require_tracker(spec: TrainSpec) -> None:
    """Raise InvalidRequest where the tracker that is asked for is not installed."""
    name = spec.log_with
    if name != TENSORBOARD and find_spec(name) is None:
        raise InvalidRequest(
            f"--log-with {name} needs {name}, which is not installed here",
            hint=f"pip install {name} into t2v's environment on the machine that trains, or --log-with tensorboard",
        )


class OtherTracker:
    """A run of wandb or trackio, named as the job. The training outlives it: what it cannot record is said once."""

    def __init__(self, name: str, accelerator: Accelerator, job: Job) -> None:
        self.name = name
        self._accelerator, self._job = accelerator, job
        self._is_lost = False

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Begin it with the settings of a training. Raises InvalidRequest where the tracker takes none."""
        project = os.environ.get(f"{self.name.upper()}_PROJECT") or PROJECT
        try:
            self._accelerator.init_trackers(
                project, config=dict(settings), init_kwargs={self.name: _options(self.name, self._job)}
            )
        except Exception as error:
            raise InvalidRequest(f"{self.name} begins no run: {_first(error)}", hint=HINTS[self.name]) from error

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Record what is known after optimiser step number `step`."""
        if not self._is_lost:
            self._try(partial(self._accelerator.log, dict(values), step=step))

    def close(self) -> None:
        """End the run; what is still on its way is sent."""
        for tracker in self._accelerator.trackers:
            self._try(tracker.finish)
        self._accelerator.trackers.clear()

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises is no reason to end a training
            if not self._is_lost:
                self._job.events.warning(
                    f"{self.name} records nothing more of this training: {_first(error)}",
                    hint="TensorBoard and the job's events have all of it",
                )
            self._is_lost = True


def _options(name: str, job: Job) -> dict[str, Any]:
    own = job.directory.name
    if name == "wandb":
        return {"name": own, "dir": str(job.directory), "settings": {"silent": True, "console": "off"}}
    return {"name": own, "embed": False}


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
