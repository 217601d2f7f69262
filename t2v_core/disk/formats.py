"""The formats of our own files, and what is said of one that a later t2v wrote.

A number goes up when an older t2v would read a file wrongly. What such a t2v meets then is neither used, nor passed
over without a word, nor replaced.
"""

from __future__ import annotations

from t2v_core.errors import InvalidRequest

# `format` in a checkpoint's trainer.json, and `version` in the settings of a shard of latents or text.
CHECKPOINT_FORMAT = 1
SHARD_FORMAT = 1
UPDATE = "update this t2v: pip install --upgrade 't2v[engine]' (on a host: t2v push code)"


def is_later(found: object, known: int) -> bool:
    """Return True for a later format's number, and for what is no number of ours at all; none at all is the first."""
    if found is None:
        return False
    return isinstance(found, bool) or not isinstance(found, int) or found > known


def later_in_words(found: object, known: int) -> str:
    """Return `was made by a later t2v (format 2; this one reads up to 1)`."""
    return f"was made by a later t2v (format {str(found)[:40]}; this one reads up to {known})"


def made_later(what: str, found: object, known: int) -> InvalidRequest:
    """Return the error for a file of a later format."""
    return InvalidRequest(f"{what} {later_in_words(found, known)}", hint=UPDATE)
