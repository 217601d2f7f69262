"""What a video looks like while it is drawn: a few small frames in the job's folder, written anew about once a second.

`preview` holds what `python -m t2v_core.data.video.preview` writes: a line of JSON and frames of RGB. It is of the
moment, so it is renamed into place but not synced, and whoever reads it finds a whole one or none.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from t2v_core.diffusion.denoising import Denoising
from t2v_core.errors import NotFinite

NAME = "preview"
FRAMES, WIDTH = 4, 64
INTERVAL_S = 1.0
# Looking may take this share of the time at most: decoding for a large VAE takes as long as a step.
SHARE = 0.1


class SamplingPreview:
    """Call it with the latents after each step, (videos, frames, channels, height, width)."""

    def __init__(self, pipeline: Denoising, directory: Path) -> None:
        self.pipeline, self.path = pipeline, directory / NAME
        self._due = 0.0

    def __call__(self, latents: Tensor) -> None:
        began = time.monotonic()
        if began < self._due:
            return
        # A full disk shall stop the video where it is written, and the last latents may decode where these do not.
        with suppress(OSError, NotFinite):
            self._write(latents)
        took = time.monotonic() - began
        self._due = began + max(INTERVAL_S, took / SHARE)

    def _write(self, latents: Tensor) -> None:
        count = latents.shape[1]
        chosen = torch.linspace(0, count - 1, min(FRAMES, count)).round().long()
        frames = self.pipeline.glimpse(latents[0, chosen])
        height, width = frames.shape[1:3]
        columns = min(WIDTH, width)
        rows = max(2, round(columns * height / width) // 2 * 2)
        small = adaptive_avg_pool2d(frames.permute(0, 3, 1, 2).float(), (rows, columns)).round().byte()
        header = {"width": columns, "height": rows, "frames": len(small), "fps": 4.0, "source": [width, height]}
        staged = self.path.with_name(f".{NAME}")
        staged.write_bytes(json.dumps(header).encode() + b"\n" + small.permute(0, 2, 3, 1).numpy().tobytes())
        staged.replace(self.path)
