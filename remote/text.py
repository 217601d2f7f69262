"""Text of other programs and other machines: as it may stand on a screen, and what of it is the reason."""

from __future__ import annotations

import re
import unicodedata

# What gcloud says on stderr: before each error of its own, and of who it is.
GCLOUDS_OWN = re.compile(r"^ERROR: (\([\w.-]+\) )?")
LOG_IN = "gcloud auth login"
NOT_LOGGED_IN = re.compile(r"gcloud auth login|reauthentication|active account|valid credentials", re.IGNORECASE)


def shown(text: str) -> str:
    """Escape whatever moves the cursor, changes a colour or turns what stands beside it around."""
    return "".join(letter if _is_plain(letter) else _escaped(letter) for letter in text)


def _is_plain(letter: str) -> bool:
    return letter == " " or unicodedata.category(letter)[0] not in "CZ"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def stderr_reason(stderr: str) -> str:
    """Return gcloud's ERROR, whatever it says after, else the last line that is no mere warning.

    "" when it said nothing.
    """
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "")
    return shown(GCLOUDS_OWN.sub("", said)).rstrip(".")
