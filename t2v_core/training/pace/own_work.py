"""What each of several processes does by itself in a step, before it waits for the others; and who takes longest."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import torch
from accelerate import Accelerator


class OwnWork:
    """Times one process's part of each step: waiting for data, and its passes up to where gradients are shared.

    On a GPU events are recorded, which stop nothing; they are read when the step's loss has been.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._began = self._ended = 0.0
        self._events = tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) if self._is_cuda else ()

    def begin(self) -> None:
        """Note the beginning of a step's work."""
        if self._is_cuda:
            self._events[0].record()
        self._began = time.perf_counter()

    def end(self) -> None:
        """Note that what comes next waits for the others."""
        if self._is_cuda:
            self._events[1].record()
        self._ended = time.perf_counter()

    def seconds(self, waited_s: float) -> float:
        """Return what the step took of this process, with the time that it waited for its data."""
        if self._is_cuda:
            return waited_s + self._events[0].elapsed_time(self._events[1]) / 1000
        return waited_s + self._ended - self._began


class Slowest(NamedTuple):
    """The process that all others wait for. own_s: what it does by itself in a step; median_s: what all do"""

    rank: int
    own_s: float
    median_s: float


def slowest_of(accelerator: Accelerator, own_s: float) -> Slowest:
    """Return which process takes longest; every process calls it, at the same step, with its own seconds."""
    told = accelerator.gather(torch.tensor([own_s], device=accelerator.device))
    seconds: list[float] = torch.as_tensor(told).tolist()
    rank = max(range(len(seconds)), key=seconds.__getitem__)
    return Slowest(rank, round(seconds[rank], 4), round(statistics.median(seconds), 4))
