"""How a video moves, from its pixels alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Movement:
    """Of one video, or the mean of several. All are shares of the range of a pixel, but for the consistency.

    motion_amount: mean change from one frame to the next; 0 when it stands still
    flicker:       mean change that the next frame takes back: half the second difference, less than motion where things
                 move on
    frame_consistency: mean correlation of a frame with the next one, -1 … 1; 1 when it stands still
    """

    motion_amount: float
    flicker: float
    frame_consistency: float


def movement(frames: Tensor) -> Movement:
    """Measure a video, (frames, height, width, 3) uint8. One frame stands still."""
    pixels = frames.float() / 255
    changes = pixels[1:] - pixels[:-1]
    motion = float(changes.abs().mean()) if len(changes) else 0.0
    flicker = float((changes[1:] - changes[:-1]).abs().mean() / 2) if len(changes) > 1 else 0.0
    flat = pixels.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    length = flat.norm(dim=1)
    products = (flat[1:] * flat[:-1]).sum(1)
    norms = length[1:] * length[:-1]
    # A frame of one colour has no direction: it is as the next one when that has none either.
    plain = (length[1:] == length[:-1]).float()
    alike = torch.where(norms > 0, products / norms.clamp_min(1e-12), plain)
    return Movement(motion, flicker, float(alike.mean()) if len(alike) else 1.0)


def mean_movement(videos: list[Tensor]) -> Movement:
    """Return the mean of the videos' figures."""
    found = [movement(video) for video in videos]
    count = len(found)
    return Movement(
        sum(one.motion_amount for one in found) / count,
        sum(one.flicker for one in found) / count,
        sum(one.frame_consistency for one in found) / count,
    )
