"""What is said of a job that draws until there is something to see: how far its start is, and how far it is itself."""

from __future__ import annotations

from t2v_core.format import for_so_long
from t2v_tui.store.state import JobView, LaunchPhase, LaunchView, RunView
from t2v_tui.text.job_words import JOB_GLYPHS, what_it_waits_for


def how_far(job: JobView, run: RunView | None) -> str:
    """Return `12 of 20 steps`; nothing for a job that does not count now."""
    if job.row.has_ended or run is None or not run.total:
        return ""
    return f"{run.done:g} of {run.total:g} {run.unit}"


def stage_of(run: RunView | None) -> str | None:
    """Return what it does now; None when that is not known."""
    return run.stage if run is not None and run.stage else None


def before_a_job(launch: LaunchView) -> str:
    """Return how far the start of a job is, in the words of its last step."""
    match launch.phase:
        case LaunchPhase.ASKING:
            return f"{launch.host} is started first, after a yes below."
        case LaunchPhase.CANCELLED:
            return "cancelled; nothing was started"
        case LaunchPhase.FAILED if launch.failed_step is not None:
            failed = launch.failed_step
            return f"{failed.detail}\n{f'→ {failed.hint}' if failed.hint else ''}".strip()
    step = launch.steps[-1] if launch.steps else None
    return f"starting: {step.detail or step.name}" if step is not None else "starting"


def before_a_frame(job: JobView, run: RunView | None, now_t: float, waiting: str = "") -> str:
    """Return what is waited for until something is drawn, and for how long. waiting: what there is to say of a queue"""
    row = job.row
    head = f"{JOB_GLYPHS.get(row.state, ' ')} {row.state}{for_so_long(row.started_t or row.queued_t, now_t)}"
    if row.state == "queued":
        return f"{head}\n{waiting or what_it_waits_for(row) or 'it starts in a moment'}"
    doing = " ".join(filter(None, (run.stage, run.detail))) if run is not None else ""
    return f"{head}\n{doing or 'loading the model takes a few seconds'}\nThe first picture appears here."
