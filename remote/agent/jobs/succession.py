"""Which training preemption ended that is to go on when the machine is back."""

from __future__ import annotations

from pathlib import Path

from ..base.files import Json, read_json
from .rows import job_directories, state_of, waits_for

# In the environment of a job that several machines share: t2v_core.processes.member has it.
PLACE = "T2V_PLACE"


def to_be_resumed(jobs: Path) -> Path | None:
    """Return the training that preemption ended, unless another was asked for since; what waits for it is no other."""
    later: list[Json] = []
    for latest in filter(is_training, reversed(job_directories(jobs))):
        word = state_of(latest)[0]
        request = read_json(latest / "request.json") or {}
        if word == "queued" and request.get("after"):
            later.append(request)
            continue
        return latest if word == "preempted" and all(waits_for(one, latest) for one in later) else None
    return None


def is_training(directory: Path) -> bool:
    """Tell whether a job's request is for a training that is this machine's alone: who leads several sees to theirs."""
    request = read_json(directory / "request.json") or {}
    environment = request.get("env")
    return request.get("verb") == "train" and not (isinstance(environment, dict) and PLACE in environment)
