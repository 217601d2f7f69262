"""Lines of a log as they may be shown: no codes that move a terminal, one state of a progress bar, a bounded length."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum

# A line of 90,000 characters froze other viewers; nobody reads beyond this.
LINE_CHARACTERS = 4000
KEPT_BYTES = 4 * LINE_CHARACTERS

ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS and other strings: titles, links, clipboards
    r"|\x1b[ -/]*[0-~]?"  # the rest
)
# C0 and C1 controls, and what turns the direction of text around.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Level(Enum):
    """How loud a line is."""

    PLAIN = "plain"
    DEBUG = "debug"
    WARNING = "warning"
    ERROR = "error"


LEVELS = re.compile(
    r"(?P<error>\b(?:ERROR|CRITICAL|FATAL|Traceback|[Ee]rror:|(?:[A-Z]\w*)?(?:Error|Exception)(?:\b|:)))"
    r"|(?P<warning>\bWARN(?:ING)?\b|\b[Ww]arning:|\b\w+Warning\b)"
    r"|(?P<debug>\bDEBUG\b)"
)
# A level stands near the beginning, after a time and a name.
LEVEL_CHARACTERS = 160


def short_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the whole lines of consecutive bytes, each collapsed and shortened.

    The memory it takes depends on no line's length.
    """
    carried, dropped = b"", 0
    for chunk in chunks:
        whole = chunk.split(b"\n")
        carried += whole[0]
        if len(whole) > 1:
            yield shortened(carried, dropped)
            yield from map(shortened, whole[1:-1])
            carried, dropped = whole[-1], 0
        if len(carried) > 2 * KEPT_BYTES:
            dropped += len(carried) - 2 * KEPT_BYTES
            carried = carried[:KEPT_BYTES] + carried[-KEPT_BYTES:]


def shortened(line: bytes, dropped: int = 0) -> bytes:
    """Return what stood last in a line that was drawn over with \\r, and the beginning of a long one.

    dropped: bytes that were taken out of it before
    """
    if len(line) <= LINE_CHARACTERS and b"\r" not in line:
        return line
    last = line.rstrip(b"\r").rpartition(b"\r")[2]
    if len(last) + dropped <= LINE_CHARACTERS or (dropped and b"\r" in line and len(last) <= LINE_CHARACTERS):
        return last
    text = last[:KEPT_BYTES].decode(errors="replace")
    more = len(last) + dropped - len(text[:LINE_CHARACTERS].encode())
    return text[:LINE_CHARACTERS].encode() + (f" … {more:,} bytes more".encode() if more > 0 else b"")


def clean(line: bytes) -> str:
    """Return the text of a line, with nothing in it that a terminal would obey."""
    text = line.decode(errors="replace")
    if "\x1b" in text:
        text = ESCAPES.sub("", text)
    if not text.isprintable():
        text = CONTROLS.sub("", text.expandtabs(8))
    return text


def level_of(text: str) -> Level:
    """Return the level that a line names near its beginning; PLAIN when it names none."""
    found = LEVELS.search(text, 0, LEVEL_CHARACTERS)
    return Level(found.lastgroup) if found is not None else Level.PLAIN
