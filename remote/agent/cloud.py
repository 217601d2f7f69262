"""Whether this machine is one of Google Cloud's, by what its firmware says, without asking any network."""

from __future__ import annotations

from pathlib import Path

PRODUCT = Path("/sys/class/dmi/id/product_name")


def is_google() -> bool:
    try:
        return PRODUCT.read_text().startswith("Google")
    except OSError:
        return False
