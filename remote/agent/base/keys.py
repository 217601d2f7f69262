"""What a job is called, and a request's key, under which the same request is the same job."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

JOB_ID = re.compile(r"[a-z0-9-]+")


def place_of_key(jobs: Path, key: str) -> Path:
    """Return the file that names the job of a key, whether it is there or not."""
    return jobs / ".keys" / hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def resumption_key(job: str) -> str:
    """Return the key of the job that goes on with a preempted one: asking again is the same job."""
    return f"resumed-{job}"
