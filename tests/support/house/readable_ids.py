"""Names for the cases of a test: what pytest would number (`command105`, `values3`) is named by what it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

LONGEST = 60
NAMED_BY_PYTEST = (str, bytes, int, float, complex, bool, type(None))


def id_of(value: object) -> str | None:
    """Return a short name for a value; None for what pytest names well, or what has no name that stays the same."""
    is_long = isinstance(value, str) and len(value) > LONGEST
    if not is_long and (isinstance(value, NAMED_BY_PYTEST) or hasattr(value, "__name__")):
        return None
    said = " ".join(_words(value).split())
    if not said or " at 0x" in said:
        return None
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 3]}..."


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_words(one)}" for name, one in value.items())
    if isinstance(value, set | frozenset):
        return ",".join(sorted(map(_words, value)))
    if isinstance(value, Collection) and not isinstance(value, str | bytes | Path):
        is_size = len(value) > 1 and all(type(one) is int for one in value)
        return ("x" if is_size else ",").join(map(_words, value))
    return str(getattr(value, "__name__", value))
