"""Whether this machine is one of Google Cloud's, by what its firmware says, without asking any network."""

from __future__ import annotations

import os
from pathlib import Path

# A container of the tests has no firmware of its own.
PRODUCT = Path(os.environ.get("T2V_PRODUCT_FILE", "/sys/class/dmi/id/product_name"))


def is_google() -> bool:
    """Tell whether the firmware names Google; False where it cannot be read."""
    try:
        return PRODUCT.read_text().startswith("Google")
    except OSError:
        return False
