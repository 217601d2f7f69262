"""How a verdict on resuming is told: each kill, what was compared, and one sentence."""

from __future__ import annotations

import sys

from t2v_core.events.results import KilledRun, ResumeVerified
from t2v_core.format import timing
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import Followed
from t2v_tui.cli.narrate import Narrator


def tell_verdict(followed: Followed, _workspace: Workspace, _teller: Narrator, *, as_json: bool) -> None:
    """Write lines, or everything as JSON, to stdout."""
    print(followed.as_json() if as_json else "\n".join(verdict_lines(followed.result_as(ResumeVerified))))
    sys.stdout.flush()


def verdict_lines(result: ResumeVerified) -> list[str]:
    """Return the verdict for people."""
    shared = f", {result.processes} processes" if result.processes > 1 else ""
    head = f"{result.preset}, {result.steps} steps{shared}, {result.device}"
    return [head, *map(_case, result.cases), _verdict(result)]


def _case(case: KilledRun) -> str:
    how = f"killed {case.killed}, after step {case.steps_done}, resumed from step {case.resumed_at}"
    if not case.differing:
        return f"  {how}: {case.tensors} tensors the same"
    differ = f"{len(case.differing)} of {case.tensors} tensors differ, by up to {case.largest_difference:.3g}"
    return f"  {how}: {differ}"


def _verdict(result: ResumeVerified) -> str:
    took = f"({timing(result.took_s)})"
    if result.exact:
        return f"training resumes exactly: weights, averages, moments and order are the same to the last bit {took}"
    return (
        f"training resumes up to rounding: the largest difference is {result.largest_difference:.3g}, and "
        f"{result.between_two_whole_runs:.3g} between two runs that were not killed; --deterministic removes "
        f"both {took}"
    )
