"""Whose log and progress stand for a job that waits: the one at work that has to succeed first."""

from __future__ import annotations

from t2v_core.format import duration, grouped
from t2v_tui.store.state import JobKey, JobView, State
from t2v_tui.text.job_words import job_in_words


def at_work_for(state: State, key: JobKey) -> JobKey:
    """Return the job itself unless it is queued; else the first of those before it that has not ended."""
    job, seen = state.jobs.get(key), {key}
    found = key
    while job is not None and job.row.state == "queued" and job.row.after is not None:
        before = JobKey(key.host, job.row.after)
        job = state.jobs.get(before)
        if job is None or job.row.has_ended or before in seen:
            break
        seen.add(before)
        found = before
    return found


def how_far(job: JobView, state: State) -> str:
    """Return `preprocess: latents 120 of 2,376 clips · 0:40 left`"""
    run = state.runs.get(job.key)
    if run is None or not run.total:
        return f"{job.row.verb}: {job_in_words(job.row) or job.row.state}"
    left = f" · {duration(run.time_left_s)} left" if run.time_left_s is not None else ""
    return f"{job.row.verb}: {run.stage} {grouped(run.done)} of {grouped(run.total)} {run.unit}{left}"
