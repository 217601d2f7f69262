"""What stands over the curve, and in its place before there is one: how to begin, what is waited for, why none came."""

from __future__ import annotations

from t2v_core.format import duration, for_so_long, grouped
from t2v_tui.store.state import JobView, RunView, State
from t2v_tui.text.headline import truth
from t2v_tui.text.job_words import JOB_GLYPHS, job_in_words
from t2v_tui.text.unreachable import asked, instead_of_empty, is_lost, waits

EMPTY = """No training yet.

t   starts one on the chosen host
p   chooses preset, epochs and the rest first
h   chooses the host

The curve appears here with the first step."""


def before_curve(state: State, now_t: float) -> str:
    """Return what stands in place of the curve; nothing once there is a loss to draw."""
    job, run = state.shown_job, state.shown_run
    if state.shown is None:
        return instead_of_empty(list(state.hosts.values()), "its trainings", now_t) or EMPTY
    if run is not None and run.curve.losses:
        return ""
    return _of_job(state, job, run, now_t) if job is not None else _unknown(state, now_t)


def _unknown(state: State, now_t: float) -> str:
    """It is remembered that it was shown, and nothing more."""
    host = state.hosts.get(state.shown.host) if state.shown else None
    return asked(host, now_t, f"what became of {state.shown.job}") if host and state.shown else EMPTY


def _of_job(state: State, job: JobView, run: RunView | None, now_t: float) -> str:
    row, host = job.row, state.hosts.get(job.key.host)
    if row.verb != "train":
        return _of_other_work(job, trains=any(one.row.verb == "train" for one in state.jobs.values()))
    head = f"{JOB_GLYPHS.get(row.word, ' ')} {row.word}"
    if row.has_ended:
        why = row.reason or ("" if row.state == "succeeded" else job_in_words(row))
        lines = [f"{head} before its first step{f': {why}' if why else ''}", f"→ {row.hint}" if row.hint else "",
                 "\n9 shows its log, t starts another one"]  # fmt: skip
        if run is None and row.state == "succeeded":
            lines = [head, f"reading the losses that {job.key.host} wrote …"]
        return "\n".join(filter(None, lines))
    since = for_so_long(row.started_t, now_t)
    doing = " ".join(filter(None, (run.stage, run.detail))) if run is not None else ""
    lines = [f"{head}{since}", doing or job_in_words(row)]
    if host is not None and is_lost(host):
        is_so = truth(host, now_t)
        lines.append(f"{is_so.glyph} {host.name} is not heard, {is_so.detail}")
    elif host is not None and waits(host):
        lines.append(asked(host, now_t, "its losses"))
    return "\n".join(filter(None, [*lines, "\nThe curve appears here with the first step."]))


def _of_other_work(job: JobView, *, trains: bool) -> str:
    """Its log was opened from the list of jobs, and this screen shows the same job."""
    said = " · ".join(filter(None, (f"{JOB_GLYPHS.get(job.row.word, ' ')} {job.row.word}", job_in_words(job.row))))
    ways = "enter in the list of runs shows a training" if trains else "t starts a training"
    return f"{job.row.verb}, which has no loss: {said}\n\n9 shows its log, {ways}"


def why_it_ended(state: State) -> str:
    """Return `✗ no space left on device · 9 shows the log` under the curve of one that failed; else nothing."""
    job = state.shown_job
    if job is None or job.row.state not in ("failed", "lost", "preempted"):
        return ""
    why = job.row.reason or (
        f"exit code {job.row.code}" if job.row.code is not None else "how it ended was not recorded"
    )
    return f"{JOB_GLYPHS[job.row.state]} {why} · 9 shows the log"


def title_of(state: State, room: int | None = None) -> str:
    """Return `loss · step 12 410 / 50 000 · 1.31 it/s · 7:12 left`

    room: characters; where they are few the held-out loss is left out, then the rate, or the steps of an ended one
    """
    run, job = state.shown_run, state.shown_job
    if job is not None and job.row.verb != "train":
        return job.row.verb
    if run is None or job is None:
        return "loss"
    if run.unit and run.unit != "steps" and not job.row.has_ended:
        return f"{run.stage} · {run.done:g} of {run.total:g} {run.unit}"
    parts = ["loss" if run.loss is None else f"loss {run.loss:.4f}"]
    less = [] if run.held_out_loss is None else [f"held-out {run.held_out_loss:.4f}"]
    parts += less
    if run.total:
        parts.append(f"step {grouped(run.done)} / {grouped(run.total)}")
    if not job.row.has_ended:
        if run.rate:
            less.append(f"{run.rate:.2f} it/s")
            parts.append(less[-1])
        if run.time_left_s is not None:
            parts.append(f"{duration(run.time_left_s)} left")
        elif not run.total:
            parts.append(run.stage or f"{job.row.state}: {job_in_words(job.row)}".removesuffix(": "))
    else:
        less += parts[-1:] if run.total else []
        parts.append(f"{JOB_GLYPHS.get(job.row.word, '')} {job.row.word}")
    for part in less:
        if room is not None and len(" · ".join(parts)) > room:
            parts.remove(part)
    return " · ".join(parts)
