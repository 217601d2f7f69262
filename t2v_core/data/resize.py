"""Frames of any size made square, the same way at training and at use."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

RESIZE_RULE = "bicubic, antialiased, short side to size, centre crop"


def resize_and_crop(frames: Tensor, size: int) -> Tensor:
    """Scale the short side to `size` pixels and cut the middle out of the long one.

    frames: (n, height, width, 3) uint8, on the CPU
    Returns (n, size, size, 3) uint8; frames that are size × size already come back untouched.
    """
    height, width = frames.shape[1:3]
    if (height, width) == (size, size):
        return frames
    scale = size / min(height, width)
    new_height, new_width = max(size, round(height * scale)), max(size, round(width * scale))
    # uint8 stays uint8: 3.5 to 10 times faster than float, and within 74 dB of Pillow's bicubic.
    scaled = interpolate(frames.permute(0, 3, 1, 2), (new_height, new_width), mode="bicubic", antialias=True)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return scaled[:, :, top : top + size, left : left + size].permute(0, 2, 3, 1).contiguous()
