"""How long what is quick on a quiet machine may take on this one, now."""

from __future__ import annotations

import os


def slowed(seconds: float) -> float:
    """So many of them as other work on the machine makes of these; never fewer."""
    waiting_a_core = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, 2 * waiting_a_core)
