"""Are the values of a safetensors file numbers? Found without torch, which may be what is broken.

A broken run makes every value NaN within a step or two, so a look at both ends of each tensor finds it at once.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from t2v_core.disk.opening import open_file
from t2v_core.disk.plain_json import table

MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
END_BYTES, PIECE_BYTES = 4096, 1 << 20


def not_finite(file: Path, *, whole: bool) -> str | None:
    """Return the first tensor that holds a NaN or an infinity; None when there is none, or the file cannot be read.

    whole: every value (about 200 MB/s); otherwise the first and last 4 kB of each tensor
    Source: huggingface/safetensors, README, "Format".
    """
    try:
        with open_file(file) as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = table(opened.read(length)) if 0 < length <= MAX_HEADER_BYTES else {}
            header.pop("__metadata__", None)
            for name, entry in header.items():
                is_right = FINITE.get(entry["dtype"])
                begin, end = (8 + length + offset for offset in entry["data_offsets"])
                if is_right and not all(map(is_right, _pieces(opened, begin, end, whole=whole))):
                    return str(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def _pieces(file: BinaryIO, begin: int, end: int, *, whole: bool) -> Iterator[bytes]:
    if not whole and end - begin > 2 * END_BYTES:
        yield from (_read_at(file, begin, END_BYTES), _read_at(file, end - END_BYTES, END_BYTES))
        return
    for start in range(begin, end, PIECE_BYTES):
        yield _read_at(file, start, min(PIECE_BYTES, end - start))


def _read_at(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _float32(piece: bytes) -> bool:
    # The sum of a million of them fits into Python's doubles, and is quicker than asking each.
    return math.isfinite(sum(array("f", piece)))


def _float16(piece: bytes) -> bool:
    return math.isfinite(sum(struct.unpack(f"<{len(piece) // 2}e", piece)))


def _bfloat16(piece: bytes) -> bool:
    """The upper halves of float32 values."""
    widened = bytearray(2 * len(piece))
    widened[2::4], widened[3::4] = piece[0::2], piece[1::2]
    return _float32(bytes(widened))


def _float64(piece: bytes) -> bool:
    return all(map(math.isfinite, array("d", piece)))


FINITE: dict[str, Callable[[bytes], bool]] = {"F16": _float16, "BF16": _bfloat16, "F32": _float32, "F64": _float64}
