"""What machine this is by its firmware's word, and whether it is one to power off, without asking any network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# A container of the tests has no firmware of its own.
PRODUCT = Path(os.environ.get("T2V_PRODUCT_FILE", "/sys/class/dmi/id/product_name"))


def product() -> str:
    """Return the machine's name as its firmware has it; empty where there is none to read."""
    try:
        line = next(iter(PRODUCT.read_text(errors="replace").splitlines()), "")
    except OSError:
        return ""
    return line if line.isprintable() else ""


def is_google() -> bool:
    """Tell whether the firmware names Google; False where it cannot be read."""
    return product().startswith("Google")


def is_one_to_stop(agreed_product: Any) -> bool:
    """Tell whether this machine may be powered off: it is Google's, or the one that somebody named for that.

    agreed_product: of the machine that was named, when it was; None where none was
    """
    return is_google() or (isinstance(agreed_product, str) and agreed_product == product())
