"""What is said of a job beside its state, on the command line and on the screens."""

from __future__ import annotations

from remote.replies.job_row import STALLED, JobRow
from t2v_core.events import DoneEvent, Event, ProgressEvent, StageEvent, StepEvent
from t2v_core.format import ago, duration

JOB_GLYPHS = {
    "queued": "◌", "starting": "◔", "running": "●", "stalled": "◍", "succeeded": "✓", "failed": "✗", "stopped": "■",
    "preempted": "⚡", "lost": "?",
}  # fmt: skip
# So long an alarm stands beside the job that it is of.
SHOWN_S = 600.0


def what_it_waits_for(row: JobRow) -> str:
    """Return `place 2 for the GPU, after 20261122-…`; nothing for a job that is about to begin."""
    place = f"place {row.place_in_queue} for the GPU" if row.needs_gpu and row.place_in_queue else ""
    return ", ".join(filter(None, (place, f"after {row.after}" if row.after else "")))


def progress_of(row: JobRow) -> str:
    """Return `120 of 400 steps, loss 0.31`, from the newest event; nothing when that counts nothing."""
    event = row.newest
    if event is None or (count := counted(event)) is None:
        return event.name if isinstance(event, StageEvent) else ""
    beside = f", loss {event.loss:.3g}" if isinstance(event, StepEvent) and event.loss is not None else ""
    return f"{count[0]:g} of {count[1]:g} {unit_of(event)}{beside}"


def counted(event: Event) -> tuple[float, float] | None:
    """Return (done, total) of a progress or step event; None when it counts nothing."""
    match event:
        case ProgressEvent(done, total):
            return float(done), float(total)
        case StepEvent(step, int(total)):
            return float(step), float(total)
    return None


def unit_of(event: Event) -> str:
    """Return what a progress or step event counts."""
    return event.unit if isinstance(event, ProgressEvent) else "steps"


def alarm_in_words(row: JobRow, now_t: float) -> str:
    """Return `▲ loss-spike 2 min ago: …` of the newest alarm of a job that goes on; nothing for one that is over.

    now_t: by the clock of the job's host
    """
    alarm = row.newest_alarm
    if alarm is None or row.has_ended or (now_t - alarm.t > SHOWN_S and row.word != STALLED):
        return ""
    return f"▲ {alarm.name} {ago(now_t - alarm.t)} ago: {' '.join(alarm.message.split())}"


def job_in_words(row: JobRow) -> str:
    """Return what there is to say of a job beside its state: how far it is, what it waits for, or why it ended."""
    if row.state == "queued":
        text = what_it_waits_for(row)
    elif row.state == "succeeded":
        done = row.newest
        text = f"took {duration(done.seconds)}" if isinstance(done, DoneEvent) and done.seconds is not None else ""
    else:
        text = row.reason if row.has_ended else progress_of(row)
    if row.word == STALLED and row.without_step_s is not None:
        text = f"no step for {duration(row.without_step_s)}, {text}".removesuffix(", ")
    return " ".join(text.split())
