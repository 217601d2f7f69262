"""How fast training goes, and what it waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NotRequired, TypedDict

import torch

from t2v_core.training.forecast.gpus import gpu_of_device

WINDOW = 20


class Rates(TypedDict):
    """data_wait: the share of the time that went into waiting; mfu: where it can be known"""

    samples_per_s: float
    data_wait: float
    mfu: NotRequired[float]


class StepClock:
    """Rates over the last steps.

    count_flops: gives those of one clip, forward and backward; asked only on a GPU of the table, where `rates` has the
    share of its peak (MFU, Chowdhery et al. 2022, appendix B)
    """

    def __init__(self, device: torch.device, count_flops: Callable[[], float]) -> None:
        self.peak = _peak(device)
        self.flops_per_clip = count_flops() if self.peak else 0.0
        self._waits: deque[float] = deque(maxlen=WINDOW)
        self._steps: deque[float] = deque(maxlen=WINDOW)

    def waited(self, seconds: float) -> None:
        """Record the time that the step stood still for its data."""
        self._waits.append(seconds)

    def stepped(self, seconds: float) -> None:
        """Record the time that the step computed."""
        self._steps.append(seconds)

    @property
    def last(self) -> tuple[float, float]:
        """Return the seconds that the last step waited for its data, and those that it computed."""
        return self._waits[-1], self._steps[-1]

    def rates(self, clips_per_step: float) -> Rates:
        """Return samples_per_s, and data_wait as a share of the time; mfu where it can be known."""
        waited, stepped = sum(self._waits), sum(self._steps)
        rate = clips_per_step * len(self._steps) / (waited + stepped)
        rates: Rates = {"samples_per_s": round(rate, 2), "data_wait": round(waited / (waited + stepped), 4)}
        if self.peak and self.flops_per_clip:
            rates["mfu"] = round(rate * self.flops_per_clip / self.peak, 4)
        return rates


def _peak(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    gpu = gpu_of_device(torch.cuda.get_device_name(device))
    return gpu.half_flops if gpu else None
