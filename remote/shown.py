"""Text from the other side as it may stand on a screen."""

from __future__ import annotations

import unicodedata


def shown(text: str) -> str:
    """Nothing in it moves the cursor, changes a colour or turns what stands beside it around."""
    return "".join(letter if _is_plain(letter) else _escaped(letter) for letter in text)


def _is_plain(letter: str) -> bool:
    return letter == " " or unicodedata.category(letter)[0] not in "CZ"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
