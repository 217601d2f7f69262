"""Decoded frames as people see them: RGB, and turned as the file says."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

# DV's narrowest pixels are 8:9, a CinemaScope lens's are 2:1; what is far beyond is a damaged header.
WIDEST_PIXEL = 8
SQUARE = Fraction(1)
Matrix = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Picture:
    """A frame upright: (height, width, 3) RGB uint8. is_sideways: it lies turned by 90 or 270 degrees in the file"""

    image: NDArray[np.uint8]
    is_sideways: bool


class Turner:
    """Brings the frames of one film upright.

    Reading its side data ties a frame into a cycle that only Python's collector unties, a hundred frames later (600 MB
    of 1080p): so it is read once for each angle that frames are turned by.
    """

    def __init__(self) -> None:
        self._matrices: dict[int, Matrix | None] = {}

    def picture_of(self, frame: VideoFrame) -> Picture:
        """Return the frame upright, as the function `picture_of` does, with side data read once for each angle."""
        angle = frame.rotation
        if angle not in self._matrices:
            self._matrices[angle] = display_matrix(frame)
        return _turned(frame, self._matrices[angle])


def picture_of(frame: VideoFrame) -> Picture:
    """Return the frame upright, and whether it lies sideways in the file: its pixels' shape then turns as well."""
    return _turned(frame, display_matrix(frame))


def pixel_aspect(stream: VideoStream, *, is_sideways: bool) -> Fraction:
    """Return width over height of a pixel as it is shown, upright; 1 for nearly all films, 64:45 for a wide DVD.

    The container's word counts before the codec's, as in players (FFmpeg's av_guess_sample_aspect_ratio).
    """
    aspect = stream.sample_aspect_ratio
    if not aspect or not Fraction(1, WIDEST_PIXEL) <= aspect <= WIDEST_PIXEL:
        return SQUARE
    return 1 / aspect if is_sideways else aspect


def squared(image: NDArray[np.uint8], aspect: Fraction) -> NDArray[np.uint8]:
    """Return the image as wide as it is shown, for formats that have square pixels only.

    It is (height, width, 3) RGB uint8.
    """
    width, height = shown_size(image.shape[1], image.shape[0], aspect)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    scaled = frame.reformat(width, height, interpolation=Interpolation.BICUBIC)
    return cast("NDArray[np.uint8]", scaled.to_ndarray(format="rgb24"))


def shown_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Return (width, height) in square pixels: the lines stay, their length is what players show."""
    return max(1, round(width * aspect)), height


def apply_display_matrix(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return the frame as (height, width, 3) RGB, turned and mirrored by quarter turns as the display matrix says.

    Phones film sideways, and their front cameras mirrored, and say so in the file only. The colours follow the
    file's own matrix and range (BT.601 where it names none, as FFmpeg has it).
    """
    return picture_of(frame).image


def _turned(frame: VideoFrame, matrix: Matrix | None) -> Picture:
    image = cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24"))
    if matrix is None:
        return Picture(image, is_sideways=False)
    (a, b), (c, d) = matrix  # the pixel at (x, y) is shown at (a·x + c·y, b·x + d·y)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Picture(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1], is_sideways=False)
    return Picture(image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1], is_sideways=True)


def display_matrix(frame: VideoFrame) -> Matrix | None:
    """Return the four corners of ISO 14496-12's 3 × 3 `matrix` that turn, in 16.16 fixed point; None without one."""
    side_data = cast("SideDataContainer", frame.side_data)  # its own declaration knows motion vectors only
    if Type.DISPLAYMATRIX not in side_data:
        return None
    values = np.frombuffer(bytes(side_data[Type.DISPLAYMATRIX]), np.int32)
    return (int(values[0]), int(values[1])), (int(values[3]), int(values[4]))
