"""The engine's sampling preview, small frames of RGB, as a PNG that a browser shows: they stand side by side."""

from __future__ import annotations

import struct
import zlib

from t2v_core.disk.plain_json import table

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_of_preview(data: bytes) -> bytes | None:
    """Return the frames as a PNG; None when the data is not whole.

    data: a line of JSON and frames, as `jobs/<id>/preview`
    """
    line, _, pixels = data.partition(b"\n")
    try:
        header = table(line)
        width, height, frames = (int(header[name]) for name in ("width", "height", "frames"))
    except (ValueError, KeyError, TypeError):
        return None
    stride = width * 3
    if min(width, height, frames) < 1 or len(pixels) != frames * height * stride:
        return None
    rows = [
        b"\0" + b"".join(pixels[(n * height + y) * stride : (n * height + y + 1) * stride] for n in range(frames))
        for y in range(height)
    ]
    size = struct.pack(">IIBBBBB", width * frames, height, 8, 2, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(b"".join(rows))) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
