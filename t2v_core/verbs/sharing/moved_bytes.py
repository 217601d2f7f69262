"""How far a job is that moves bytes, in megabytes; between two pieces it may be asked to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass

from t2v_core.job import Job

MB = 1e6


@dataclass
class MovedBytes:
    """Called with how many bytes have moved since the last call. total, done: in bytes"""

    job: Job
    total: int
    done: int = 0

    def __call__(self, more: int) -> None:
        """Report it, where there is more than a moment's work. Raises Stopped when the job is asked to end."""
        self.done += more
        if self.total > MB:
            whole = math.ceil(self.total / MB)
            self.job.events.progress(whole if self.done >= self.total else int(self.done / MB), whole, "MB")
        self.job.check_stop()
