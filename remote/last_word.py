"""Why somebody else's program failed, from what it wrote on stderr."""

from __future__ import annotations

from remote.gcloud_config import GCLOUDS_OWN
from remote.shown import shown


def last_word_of(stderr: str) -> str:
    """gcloud's ERROR, whatever it says after, else the last line that is no mere warning; "" when it said nothing."""
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "")
    return shown(GCLOUDS_OWN.sub("", said)).rstrip(".")
