"""RGB as a PNG, with the standard library: whoever shows pictures has no decoder."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_of(pixels: bytes, width: int, height: int, *, level: int = 6) -> bytes:
    """Return a PNG.

    pixels: RGB, 8 bits each, width × height of them; level: how hard zlib tries, 1 to 9
    """
    stride = width * 3
    rows = b"".join(b"\0" + pixels[at : at + stride] for at in range(0, height * stride, stride))
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(rows, level)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
