"""Which job stands for one that was preempted: the training that goes on with it when the machine is back."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .files import read_json
from .rows import job_directories, state_of


def place_of_key(jobs: Path, key: str) -> Path:
    """The file that names the job of a key, whether it is there or not."""
    return jobs / ".keys" / hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def resumption_key(job: str) -> str:
    """The key of the job that goes on with a preempted one: asking again is the same job."""
    return f"resumed-{job}"


def successor_of(directory: Path) -> Path:
    """The job that goes on with this one, if it was preempted and taken up, and so on; else this one."""
    while directory.is_dir() and state_of(directory)[0] == "preempted":
        known = place_of_key(directory.parent, resumption_key(directory.name))
        if not known.exists():
            break
        directory = directory.parent / known.read_text()
    return directory


def to_be_resumed(jobs: Path) -> Path | None:
    """The training that preemption ended, unless another was asked for since."""
    latest = next(filter(is_training, reversed(job_directories(jobs))), None)
    return latest if latest is not None and state_of(latest)[0] == "preempted" else None


def is_training(directory: Path) -> bool:
    return (read_json(directory / "request.json") or {}).get("verb") == "train"
