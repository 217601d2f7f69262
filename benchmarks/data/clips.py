"""Videos for the decoding benchmarks: noisy moving shapes, encoded with libx264 at about the bit rate of MSR-VTT."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, BIT_RATE = 320, 240, 370_000
NOISE_BANK = 24


def make_clip(path: Path, *, seconds: float, fps: Fraction, gop: int, b_frames: int, seed: int) -> Path:
    """Write an mp4 of one GOP length and number of B-frames between references; the same seed gives the same pixels."""
    options = {"g": str(gop), "keyint_min": str(gop), "sc_threshold": "0", "bf": str(b_frames), "b_strategy": "0"}
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", BIT_RATE
        stream.codec_context.thread_count = 1
        for image in _images(round(seconds * fps), seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def _images(count: int, seed: int) -> list[NDArray[np.uint8]]:
    """A sliding gradient, two moving rectangles and noise that differs from frame to frame."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = rng.normal(0, 8, (NOISE_BANK, HEIGHT, WIDTH, 1)).astype(np.float32)
    slope = rng.uniform(20, 60, 3)
    colours = rng.integers(0, 255, (2, 3))
    speeds = rng.uniform(1, 4, (2, 2))
    images = []
    for number in range(count):
        image = 128 + 90 * np.sin((x + y)[..., None] / slope + number / 9).astype(np.float32)
        for colour, (down, right) in zip(colours, speeds, strict=True):
            top, left = int(number * down) % (HEIGHT - 60), int(number * right) % (WIDTH - 60)
            image[top : top + 60, left : left + 60] = colour
        image += noise[rng.integers(NOISE_BANK)]
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return images
