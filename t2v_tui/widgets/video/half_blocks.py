"""Pictures of characters: each the upper half of a cell over its lower half, two pixels in one character."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

# 8 levels a channel make runs of equal cells: a frame of 128×128 in 180 KB for the terminal, 73 MB of memory instead of
# 184 for 16 of them.
LEVELS = 8
QUANTISED = bytes(round(round(value / 255 * (LEVELS - 1)) * 255 / (LEVELS - 1)) for value in range(256))
UPPER_HALF = "▀"
SHADES = " .:-=+*#%@"
PIXEL = 3


@lru_cache(maxsize=16384)
def pair_style(pair: bytes) -> Style:
    """Return the style of a half block.

    pair: RGB of the upper pixel and of the lower one
    """
    upper, lower = (Color.from_rgb(*pair[:PIXEL]), Color.from_rgb(*pair[PIXEL:]))
    return Style(color=upper, bgcolor=lower)


def quantise(frame: bytes) -> bytes:
    """Return the frame with 8 levels a channel."""
    return frame.translate(QUANTISED)


def strips_of(frame: bytes, width: int) -> list[Strip]:
    """Return a strip for each two rows of pixels.

    frame: RGB, 8 bits each, quantised; an even number of rows
    """
    stride = width * PIXEL
    return [
        _strip(frame[at : at + stride], frame[at + stride : at + 2 * stride], width)
        for at in range(0, len(frame) - stride, 2 * stride)
    ]


def _strip(upper: bytes, lower: bytes, width: int) -> Strip:
    pairs = [upper[at : at + PIXEL] + lower[at : at + PIXEL] for at in range(0, width * PIXEL, PIXEL)]
    segments = [Segment(UPPER_HALF * len(list(same)), pair_style(pair)) for pair, same in groupby(pairs)]
    return Strip(segments, width)


def shades_of(frame: bytes, width: int, style: Style) -> list[Strip]:
    """Return the same in letters, for terminals without these characters: the brighter the denser."""
    stride = width * PIXEL
    strips = []
    for at in range(0, len(frame) - stride, 2 * stride):
        row = frame[at : at + 2 * stride]
        sums = (sum(row[x : x + PIXEL]) + sum(row[x + stride : x + stride + PIXEL]) for x in range(0, stride, PIXEL))
        text = "".join(SHADES[total * (len(SHADES) - 1) // (6 * 255)] for total in sums)
        strips.append(Strip([Segment(text, style)], width))
    return strips
