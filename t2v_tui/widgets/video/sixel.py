"""RGB as sixel graphics: six rows of pixels a band, in each of them one line for every colour.

Colours are 252 fixed ones, mixed by an ordered pattern, so a frame needs no look at the others and none flickers. All
work is done on whole rows at once, by tables and by numbers as long as a row: 16 to 27 ms for 256×256, without Pillow.
"""

from __future__ import annotations

import re
from functools import lru_cache

LEVELS = (6, 7, 6)
WEIGHTS = (LEVELS[1] * LEVELS[2], LEVELS[2], 1)
# Bayer's 4×4: which of four by four neighbouring pixels is rounded up first.
PATTERN = ((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5))
SIDE = len(PATTERN)
BAND = 6
RUN = re.compile(rb"(.)\1{3,}")
TO_PRINTABLE = bytes(min(255, value + 63) for value in range(256))


def sixels_of(pixels: bytes, width: int, height: int, size: tuple[int, int]) -> str:
    """Return the escape sequence that draws a picture in `size` pixels (width, height), each of its own repeated.

    pixels: RGB, 8 bits each, width × height of them
    """
    rows = _rows(pixels, width, height, size)
    bands = [_band(rows[at : at + BAND]) for at in range(0, len(rows), BAND)]
    used = sorted(set().union(*rows))
    # P2=1: what no colour is said of stays, as the last band may reach below the picture.
    head = f'\x1bP0;1;0q"1;1;{size[0]};{size[1]}' + "".join(map(_defined, used))
    return head + b"-".join(bands).decode("ascii") + "\x1b\\"


def _rows(pixels: bytes, width: int, height: int, size: tuple[int, int]) -> list[bytes]:
    """Numbers of colours, a row of the picture as it is shown each."""
    columns = [width * x // size[0] for x in range(size[0])]
    grown: dict[int, list[bytes]] = {}
    rows = []
    for y in range(size[1]):
        source = height * y // size[1]
        if source not in grown:
            row = pixels[source * width * 3 : (source + 1) * width * 3]
            channels = (row[channel::3] for channel in range(3))
            grown = {source: [bytes(map(one.__getitem__, columns)) for one in channels]}
        rows.append(_mixed(grown[source], y % SIDE))
    return rows


def _mixed(channels: list[bytes], y: int) -> bytes:
    width, total = len(channels[0]), 0
    for channel, values in enumerate(channels):
        numbers = bytearray(width)
        for x in range(min(SIDE, width)):
            numbers[x::SIDE] = values[x::SIDE].translate(_table(channel, PATTERN[y][x]))
        total += int.from_bytes(numbers)  # no column's sum is more than a byte: all are added at once
    return total.to_bytes(width)


@lru_cache
def _table(channel: int, rank: int) -> bytes:
    """The share of a colour's number that each value of a channel has, where the pattern has that rank."""
    steps = LEVELS[channel] - 1
    return bytes(int(value / 255 * steps + (rank + 0.5) / SIDE**2) * WEIGHTS[channel] for value in range(256))


def _band(rows: list[bytes]) -> bytes:
    width = len(rows[0])
    lines = []
    for colour in sorted(set().union(*rows)):
        dots = sum(int.from_bytes(row.translate(_dot(colour, y))) for y, row in enumerate(rows) if colour in row)
        line = dots.to_bytes(width).rstrip(b"\0").translate(TO_PRINTABLE)
        lines.append(b"#%d%b" % (colour, RUN.sub(_run, line)))
    return b"$".join(lines)


@lru_cache(maxsize=2048)
def _dot(colour: int, y: int) -> bytes:
    return bytes(colour) + bytes([1 << y]) + bytes(255 - colour)


def _run(same: re.Match[bytes]) -> bytes:
    return b"!%d%b" % (len(same[0]), same[1])


@lru_cache(maxsize=256)
def _defined(colour: int) -> str:
    red, rest = divmod(colour, WEIGHTS[0])
    parts = zip((red, *divmod(rest, WEIGHTS[1])), LEVELS, strict=True)
    return f"#{colour};2;" + ";".join(str(round(part * 100 / (levels - 1))) for part, levels in parts)
