"""Decoded frames as people see them: RGB, and turned as the file says."""

from __future__ import annotations

from typing import cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray


def upright(frame: VideoFrame) -> NDArray[np.uint8]:
    """(height, width, 3) RGB, turned and mirrored by quarter turns as the display matrix says.

    Phones film sideways, and their front cameras mirrored, and say so in the file only. The colours follow the
    file's own matrix and range (BT.601 where it names none, as FFmpeg has it).
    """
    image = cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24"))
    matrix = display_matrix(frame)
    if matrix is None:
        return image
    (a, b), (c, d) = matrix  # the pixel at (x, y) is shown at (a·x + c·y, b·x + d·y)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]


def display_matrix(frame: VideoFrame) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The four corners of ISO 14496-12's 3 × 3 `matrix` that turn, in 16.16 fixed point; None without one."""
    side_data = cast("SideDataContainer", frame.side_data)  # its own declaration knows motion vectors only
    if Type.DISPLAYMATRIX not in side_data:
        return None
    values = np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)
    return (int(values[0]), int(values[1])), (int(values[3]), int(values[4]))
