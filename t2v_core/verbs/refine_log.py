"""What a refinement looks like inside, in the job's log: shapes, timesteps, ranges and times, a line a step.

`t2v refine --verbose` shows it as it is written; `t2v logs JOB` afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from t2v_core.diffusion.denoising import Denoising
from t2v_core.format import timing


@dataclass
class Seen:
    """Frames that went by, a few at a time: `8 × 64 × 64 × 3, 0 … 255`"""

    count: int = 0
    size: tuple[int, ...] = ()
    low: int = 255
    high: int = 0

    def add(self, frames: Tensor) -> None:
        """Count frames in. frames: (n, height, width, 3) uint8"""
        low, high = (int(value) for value in frames.aminmax())
        self.count, self.size = self.count + len(frames), tuple(frames.shape[1:])
        self.low, self.high = min(self.low, low), max(self.high, high)

    def __str__(self) -> str:
        return f"{_shape_of((self.count, *self.size))}, {self.low} … {self.high}"


class RefineLog:
    """Made before the first step, then told of each; it writes to stdout, which is the job's log.

    frames: as the model got them; latents: what they became, (frames, channels, height, width)
    steps: how many are taken; the scheduler already has the timesteps of the run
    """

    def __init__(self, pipeline: Denoising, frames: Seen, latents: Tensor, steps: int) -> None:
        chosen = pipeline.scheduler.timesteps
        self._timesteps = [round(float(t), 1) for t in chosen[len(chosen) - steps :]]
        self._began = self._last = time.monotonic()
        self._done = 0
        window = pipeline.latent_shape[0]
        _say(f"input      {frames}")
        _say(
            f"latents    {_shape_of(tuple(latents.shape))}, through the model in windows of {min(window, len(latents))}"
        )
        _say(f"timesteps  {', '.join(f'{t:g}' for t in self._timesteps)}")

    def step(self, latents: Tensor) -> None:
        """Log that one step is done; latents (videos, frames, channels, height, width)."""
        now = time.monotonic()
        at = f"t = {self._timesteps[self._done]:g}"
        self._done += 1
        _say(f"step {self._done}/{len(self._timesteps)}  {at}, latents {_range(latents)}, {timing(now - self._last)}")
        self._last = now

    def end(self, frames: Seen) -> None:
        """Log that all is decoded; frames as at the beginning."""
        now = time.monotonic()
        _say(f"decoded    {frames}, {timing(now - self._last)}")
        _say(f"in all     {timing(now - self._began)}")


def _say(line: str) -> None:
    print(line, flush=True)


def _shape_of(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _range(tensor: Tensor) -> str:
    """`-3.21 … 2.87`"""
    low, high = (float(value) for value in tensor.aminmax())
    return f"{low:.4g} … {high:.4g}"
