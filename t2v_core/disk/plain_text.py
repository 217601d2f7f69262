"""Text that can be written down, UTF-8. Names of files may be any bytes, which Python carries as lone surrogates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2v_core.errors import InvalidRequest

# What moves a cursor, changes a colour or a title, or turns what stands beside it around; a new line and a tab may.
_MOVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def for_terminal(text: str) -> str:
    """Return the text with escapes for all that a terminal would obey instead of showing it."""
    return _MOVES.sub(lambda found: found[0].encode("unicode_escape").decode(), escaped(text))


# Of a line that tells of an error; a path may have 4096 bytes, and a value any number.
LONGEST_LINE, KEPT_OF_END = 600, 150


def in_short(text: str) -> str:
    """Return the text with the middle of every line left out that nobody would read to its end."""
    return "\n".join(
        line
        if len(line) <= LONGEST_LINE
        else f"{line[: LONGEST_LINE - KEPT_OF_END]} … {line[-KEPT_OF_END:]} ({len(line):,} characters)"
        for line in text.split("\n")
    )


def is_utf8(text: str) -> bool:
    """Tell whether the text can be written to a file, an event or a terminal."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """Return the text with `\\xe9` for each byte that is none of UTF-8, and `\\ud83d` for half a character."""
    if is_utf8(text):
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def require_utf8(values: Mapping[str, Any]) -> None:
    """Raise InvalidRequest that names the first value which is not UTF-8 text without NULs."""
    for name, value in values.items():
        text = str(value) if isinstance(value, Path) else value
        if isinstance(text, str) and "\0" in text:
            raise InvalidRequest(f"{name} = {text!r} holds a NUL character", hint="type it again")
        if isinstance(text, str) and not is_utf8(text):
            raise InvalidRequest(
                f"{name} = '{escaped(text)}' is not UTF-8 text", hint="rename the file or folder, or type it again"
            )


def prompts_in(text: str) -> list[str]:
    """Return the prompts in a text: its lines without those that are empty or begin with #."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
