"""When so many clips cannot be used that going on would be a mistake."""

from __future__ import annotations

from collections import Counter

from t2v_core.errors import WorkFailed

# Of a handful of clips one is a large share; two bad ones are no sign that all of them are.
NEVER_TOO_MANY = 2


class TooManyLost(WorkFailed):
    """More clips than allowed cannot be used."""


class LostClips:
    """The clips of one split that cannot be used, with their reasons.

    total: how many the split has with a file
    max_share: more than this share of them is too many; 0 allows none, otherwise NEVER_TOO_MANY are always allowed
    """

    def __init__(self, split: str, total: int, max_share: float) -> None:
        self.split, self.total, self.max_share = split, total, max_share
        self._reasons: dict[str, str] = {}

    def note(self, video_id: str, reason: str) -> None:
        """Count a clip as lost. Raises TooManyLost as soon as it is certain."""
        self._reasons[video_id] = reason
        lost = len(self._reasons)
        if lost <= max(self.max_share * self.total, NEVER_TOO_MANY if self.max_share else 0):
            return
        reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(self._reasons.values()).most_common(3))
        raise TooManyLost(
            f"{lost} of {self.total} {self.split} clips cannot be used ({reasons}), more than {self.max_share:.0%}; "
            "what is encoded by now is kept",
            hint="quarantine.csv says why of each; to go on without them: --max-lost 1",
        )
