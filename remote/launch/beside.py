"""What a job that waits for its turn takes to draw, reckoned by the engine on its host: may it run beside others?

It is a job of its own there, `t2v estimate`, that needs no GPU and so waits for no turn.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from remote.jobs.client import HostJobs
from remote.jobs.metrics import MachineSample, watch_machine
from remote.launch.launch import Launch
from remote.replies.questions import READ
from t2v_core.disk.plain_json import table
from t2v_core.errors import WorkFailed
from t2v_core.events import DoneEvent
from t2v_core.events.open_estimated import OpenEstimated, Way
from t2v_core.specs import make_spec

# A sheet draws several at once, as many as it likes.
DRAWING = ("generate", "refine")
# Choices of a job that draws, which are the estimate's as well.
SHARED = ("model", "checkpoint", "height", "width", "precision")
LOOK_S, PATIENCE_S = 0.3, 300.0
# Of a card that is not in the engine's table, only the arithmetic is taken from one that is.
LIKE_MOST = "L4"


@dataclass(frozen=True)
class Reckoned:
    """machine: as it is now; None when it did not say

    least: bytes that the job takes at its fullest moment; None for the reason in `why`
    """

    machine: MachineSample | None
    least: int | None = None
    why: str = ""


def reckon(jobs: HostJobs, job: str) -> Reckoned:
    """Look at a job's machine, and reckon there what the job takes.

    Blocks for seconds. Raises EngineError when the host is not heard.
    """
    machine = next(iter(watch_machine(jobs.host)), None)
    if machine is None:
        return Reckoned(None)
    try:
        gpu = machine.gpus[0].name or LIKE_MOST if machine.gpus else None
        return Reckoned(machine, least_bytes(jobs, job, gpu))
    except WorkFailed as error:
        return Reckoned(machine, None, f"what it takes is not known: {error.message}")


def least_bytes(jobs: HostJobs, job: str, gpu: str | None) -> int:
    """Return the memory that the job takes at its fullest moment, placed as it asks, or as leanly as it may be.

    gpu: what the driver there calls its card; None where the processor computes
    Blocks until the estimate has ended. Raises WorkFailed for a job that does not draw, or whose estimate failed;
    EngineError when the host is not heard.
    """
    verb = jobs.row(job).verb
    if verb not in DRAWING:
        raise WorkFailed(f"nobody knows what a {verb} takes", "t2v estimate tells of trainings and of single videos")
    asked = table(jobs.ask(READ, path=f"jobs/{job}/spec.json").data)
    said = _estimated(jobs, asked, gpu)
    ways = [way for way in said.ways if _is_asked(way, asked)]
    if not ways:
        raise WorkFailed("the estimate knows no way that was asked for", "leave --offload and --quantize out")
    return min(way.peak_bytes for way in ways)


def _estimated(jobs: HostJobs, asked: Mapping[str, Any], gpu: str | None) -> OpenEstimated:
    values = {name: asked[name] for name in SHARED if asked.get(name) is not None}
    if not values.get("model"):
        values.setdefault("checkpoint", "latest")
    frames = asked.get("frames")
    values |= {"device": "cpu", **({"gpu": _card(gpu)} if gpu else {}), **({"frames": frames} if frames else {})}
    launch = Launch(jobs.host, jobs.workspace, "estimate", make_spec("estimate", values), jobs=jobs)
    for _ in launch:
        pass
    if launch.job is None:
        raise WorkFailed(f"the estimate was not started on {jobs.host.name}", "ask again")
    until = time.monotonic() + PATIENCE_S
    while not (row := jobs.row(launch.job.job)).has_ended:
        if time.monotonic() > until:
            raise WorkFailed(f"the estimate {row.job} takes too long", f"t2v logs {row.job} shows how far it is")
        time.sleep(LOOK_S)
    result = OpenEstimated.of(row.newest.extra) if isinstance(row.newest, DoneEvent) else None
    if result is None:
        raise WorkFailed(f"what it takes cannot be reckoned: {row.reason or row.state}", row.hint)
    return result


def _card(name: str) -> str:
    from t2v_core.training.forecast.gpus import gpu_of_device  # a table: no tensors

    found = gpu_of_device(name)
    return LIKE_MOST if found is None else found.name


def _is_asked(way: Way, asked: Mapping[str, Any]) -> bool:
    """Whether a job may be placed so; weights in fewer bits only where it says so, as that takes packages."""
    offload, tiling, quantize = (str(asked.get(name, "auto")) for name in ("offload", "vae_tiling", "quantize"))
    return (
        offload in ("auto", way.offload)
        and tiling in ("auto", "yes" if way.vae_tiling else "no")
        and (way.quantize == "none" if quantize == "auto" else quantize == way.quantize)
    )
