"""Frames of any size made square, the same way at training and at use."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from t2v_core.data.video.decode import Shrink
from t2v_core.data.video.orientation import SQUARE, shown_size

RESIZE_RULE = "bicubic, antialiased, short side to size, centre crop"


def shrink_to(size: int) -> Shrink:
    """Return `resize_and_crop` for one frame at a time, as it is decoded.

    The pixels are the same, and none is kept at the source's size.
    """

    def shrink(image: NDArray[np.uint8], pixel_aspect: Fraction) -> NDArray[np.uint8]:
        frame = torch.from_numpy(np.ascontiguousarray(image))[None]
        return np.asarray(resize_and_crop(frame, size, pixel_aspect)[0].numpy())

    return shrink


def resize_and_crop(frames: Tensor, size: int, pixel_aspect: Fraction = SQUARE) -> Tensor:
    """Scale the short side to `size` pixels and cut the middle out of the long one.

    frames: (n, height, width, 3) uint8, on the CPU
    pixel_aspect: width over height of a pixel as it is shown; sides are measured as they are shown
    Returns (n, size, size, 3) uint8; frames that are size × size already come back untouched.
    """
    width, height = shown_size(frames.shape[2], frames.shape[1], pixel_aspect)
    if (height, width) == (size, size) == frames.shape[1:3]:
        return frames
    scale = size / min(height, width)
    new_height, new_width = max(size, round(height * scale)), max(size, round(width * scale))
    # uint8 stays uint8: 3.5 to 10 times faster than float, and within 74 dB of Pillow's bicubic.
    scaled = interpolate(frames.permute(0, 3, 1, 2), (new_height, new_width), mode="bicubic", antialias=True)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return scaled[:, :, top : top + size, left : left + size].permute(0, 2, 3, 1).contiguous()
