"""JSON of which nothing is believed: bounded in size, and whatever is wrong with it is a ValueError.

Python's own reader takes a file of any size, waits for ever at a pipe, and raises RecursionError for `[[[[…`, which
`except ValueError` does not catch. A number that nobody can reckon with (NaN, 1e999, 400 digits) becomes None.
"""

from __future__ import annotations

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from t2v_core.disk.opening import MOST_BYTES, open_file, read_bytes
from t2v_core.disk.plain_text import escaped

MOST_MANIFEST_BYTES = 256 * 2**20
# One event, or one line of what is remembered line by line.
MOST_LINE_BYTES = 2**20
PIECE_BYTES = 2**20
# A file of 60 MB may be nothing but `[],[],[],`, which would be 2 GB of lists.
MOST_PARTS = 5_000_000
LONGEST_NUMBER = 20
HALF_A_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")


def parsed(data: bytes, *, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Return what a JSON text says. Raises ValueError, for whatever is wrong with it."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_PARTS:
        raise ValueError(f"more than {MOST_PARTS} parts")
    decoder = _DECODER if object_hook is None else _decoder(object_hook)
    try:
        return decoder.decode(data.removeprefix(BOM_UTF8).decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def table(data: bytes) -> dict[str, Any]:
    """Return a JSON object, with no half characters, which nobody could write down or show. Raises ValueError."""
    said = parsed(data)
    if not isinstance(said, dict):
        raise ValueError("no JSON object")
    try:
        return whole_characters(said) if HALF_A_CHARACTER.search(data) else said
    except RecursionError:
        raise ValueError("nested too deeply") from None


def whole_characters(said: Any) -> Any:
    """Return the same with `\\ud83d` written out in every text of it."""
    if isinstance(said, str):
        return escaped(said)
    if isinstance(said, list):
        return [whole_characters(one) for one in said]
    if isinstance(said, dict):
        return {escaped(name): whole_characters(one) for name, one in said.items()}
    return said


def _no_number(_name: str) -> None:
    return None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= LONGEST_NUMBER else None


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _decoder(object_hook: Callable[[dict[str, Any]], Any] | None = None) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_hook=object_hook, parse_constant=_no_number, parse_int=_whole, parse_float=_number
    )  # fmt: skip


# Making one takes as long as reading a line of ten figures with it, and there are files of 100,000 lines.
_DECODER = _decoder()


def read_table(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Read the JSON object in a file. Raises OSError, ValueError."""
    return table(read_bytes(path, most_bytes))


class Cutter:
    """Cuts bytes into lines as they come; a line longer than `most_bytes` is passed over, and never held as a whole."""

    def __init__(self, most_bytes: int = MOST_LINE_BYTES) -> None:
        self.most_bytes = most_bytes
        self._torn = bytearray()
        self._is_too_long = False

    def take(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the lines that are whole by now, each without its end."""
        *lines, rest = data.split(b"\n")
        whole = []
        for line in lines:
            if not self._is_too_long and len(self._torn) + len(line) <= self.most_bytes:
                whole.append(bytes(self._torn + line) if self._torn else line)
            self._torn.clear()
            self._is_too_long = False
        self._is_too_long = self._is_too_long or len(self._torn) + len(rest) > self.most_bytes
        self._torn = bytearray() if self._is_too_long else self._torn + rest
        return whole


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file that is one, however large; those that are too long left out. Raises OSError."""
    cutter = Cutter()
    with open_file(path) as file:
        while data := file.read1(PIECE_BYTES):
            yield from cutter.take(data)
