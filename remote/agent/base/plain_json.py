"""JSON of which nothing is believed, as in t2v_core.disk.plain_json: bounded, and whatever is wrong is a ValueError.

Files lie in folders that a job, a user or a power cut has written to: one may be a pipe, or have any size.
"""

from __future__ import annotations

import json
import math
import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A manifest of 400,000 files.
MOST_BYTES = 64 * 2**20
MOST_LINE_BYTES = 2**20
PIECE_BYTES = 2**16
# A text of 60 MB may be nothing but `[],[],[],`, which would be 2 GB of lists.
MOST_PARTS = 5_000_000
LONGEST_NUMBER = 20


def parsed(data: bytes) -> Any:
    """Return what a JSON text says; a number that nobody can reckon with is None. Raises ValueError."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_PARTS:
        raise ValueError(f"more than {MOST_PARTS} parts")
    try:
        return _DECODER.decode(data.removeprefix(BOM_UTF8).decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def table(data: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError."""
    said = parsed(data)
    if not isinstance(said, dict):
        raise ValueError("no JSON object")
    return said


def _nothing(_name: str) -> None:
    return None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= LONGEST_NUMBER else None


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


# Making one takes as long as reading a line of ten figures with it.
_DECODER = json.JSONDecoder(parse_constant=_nothing, parse_int=_whole, parse_float=_number)


def read_bytes(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Read all of a file that is one. Raises OSError, and ValueError for what is longer, or a pipe or device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most_bytes:
            raise ValueError(f"{path} is no file, or larger than {most_bytes} bytes")
        found = os.read(descriptor, min(status.st_size + 1, most_bytes))
        while len(found) != status.st_size and len(found) < most_bytes:  # it grows, or is one of /proc
            more = os.read(descriptor, min(PIECE_BYTES, most_bytes - len(found)))
            if not more:
                break
            found += more
        return found
    finally:
        os.close(descriptor)


def tables_in(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file of lines, however large it is; what is none is passed over. Raises OSError."""
    for line in lines_of(path):
        try:
            yield table(line)
        except ValueError:
            continue


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file that is one; those of more than a megabyte are passed over. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        is_within = True
        while line := file.readline(MOST_LINE_BYTES):
            is_end = line.endswith(b"\n")
            if is_end and is_within:
                yield line[:-1]
            is_within = is_end
