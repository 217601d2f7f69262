"""How long to wait before the next attempt to reach a host."""

from __future__ import annotations

# A cut heals at once more often than not; what lasts is asked about every ten seconds.
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)


class Backoff:
    """0, 0.5, 1, 2, 4, 8 s, then 10 s each time, until something is heard again."""

    def __init__(self) -> None:
        self._attempts = 0

    def next_s(self) -> float:
        """Return how many seconds to wait now; the next answer is longer, up to 10 s."""
        pause_s = PAUSES_S[min(self._attempts, len(PAUSES_S) - 1)]
        self._attempts += 1
        return pause_s

    def reset(self) -> None:
        """Begin again at 0 s: something was heard."""
        self._attempts = 0
