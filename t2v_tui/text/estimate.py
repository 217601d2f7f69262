"""What a training will take, asked of the engine here: a job in a child of low priority that leaves nothing behind."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from t2v_core.events.estimated import Estimated
from t2v_core.format import duration, grouped, size, usd
from t2v_core.workspace import Workspace

if TYPE_CHECKING:
    from t2v_core.specs import Spec

UNKNOWN = ("how long it will take is not known",)


def gpu_in_table(kind: str) -> str:
    """Return a cloud's name of a GPU in the words of the estimator's table: `nvidia-tesla-a100` is `A100`."""
    return kind.removeprefix("nvidia-").removeprefix("tesla-").upper()


def reckoned(where: Workspace, asked: Spec, is_unwanted: Callable[[], bool]) -> Estimated | None:
    """Return the estimate; None when nobody wants it any more, or the engine has none. Raises EngineError.

    asked: an EstimateSpec
    """
    from remote.jobs.foreground import create, run_here  # whoever estimates nothing needs none

    job = create(where, "estimate", asked)
    argv = ["nice", "-n", "19", sys.executable, "-m", "t2v_core", "estimate", str(job.directory)]
    try:
        with run_here(job, argv=argv) as run:
            run.start()
            for _ in run.batches():
                if is_unwanted():
                    return None
        done = job.result()
        return None if done is None else Estimated.of(done.extra)
    finally:
        _remove(job.directory)


def _remove(directory: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(directory)


def sentences(said: Estimated, price: float | None) -> tuple[str, ...]:
    """Return an estimate in one or two lines: time and price, then what does not fit."""
    if said.time is None:
        return UNKNOWN
    if not said.data.is_preprocessed:
        return ("how long it will take is known once there is data",)
    seconds = said.time.total_s
    cost = f" → about {usd(seconds / 3600 * price)}" if price else ""
    lines = [f"about {duration(seconds)} for {grouped(said.time.steps)} steps on {said.machine.name}{cost}"]
    if not said.fits.memory:
        lines.append(f"needs {size(said.memory.peak_bytes)} of memory, more than there is")
    if not said.fits.disk:
        lines.append(f"needs {size(said.disk.expected)} of disk, more than is free")
    return tuple(lines)
