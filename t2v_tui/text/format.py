"""How times, sizes, money and states read, wherever they stand: one way for the command line and the screens."""

from __future__ import annotations

from remote.replies.job_row import JobRow
from t2v_core.events import DoneEvent, Event, ProgressEvent, StageEvent, StepEvent

JOB_GLYPHS = {
    "queued": "◌", "starting": "◔", "running": "●", "succeeded": "✓", "failed": "✗", "stopped": "■",
    "preempted": "⚡", "lost": "?",
}  # fmt: skip


def duration(seconds: float) -> str:
    """Return a time as `0:07`, `12:40`, `3:05:00`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago(seconds: float) -> str:
    """Return an age as `12 s`, `5 min`, `3 h`, `2 d`."""
    for limit, unit, size in ((100, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{max(0, round(seconds / size))} {unit}"
    return f"{round(seconds / 86_400)} d"


def for_so_long(since_t: float | None, now_t: float) -> str:
    """Return ` for 40 s`, beside what lasts; nothing in the first ten seconds.

    In tens of seconds, so that it moves no eye.
    """
    seconds = (now_t - since_t) // 10 * 10 if since_t else 0.0
    return f" for {ago(seconds)}" if seconds >= 10 else ""


def span(seconds: float) -> str:
    """Return a time as `45s`, `25m`, `3h15m`, `2d04h`.

    As wide for every hour of a day, where seconds would only flicker.
    """
    minutes = int(max(0.0, seconds)) // 60
    if minutes < 1:
        return f"{int(max(0.0, seconds))}s"
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def usd(amount: float) -> str:
    """Return dollars as `$0.00`, `$13.39`."""
    return f"${amount:,.2f}"


def gb(size_bytes: float) -> str:
    """Return a size as `0.31 GB`, `9.4 GB`, `212 GB`, in 10⁹ bytes."""
    value = size_bytes / 1e9
    return f"{value:.2f} GB" if value < 1 else f"{value:.1f} GB" if value < 100 else f"{value:,.0f} GB"


def size(size_bytes: float) -> str:
    """Return a size as `640 kB`, `12 MB`, `2.1 GB`: in steps of 1000, two digits and more."""
    for unit, amount in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= amount:
            value = size_bytes / amount
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{size_bytes / 1e3:,.0f} kB"


def grouped(number: float) -> str:
    """Return a number as `12 410`: digits in threes."""
    return f"{number:,.0f}".replace(",", "\u202f")


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


def job_in_words(row: JobRow) -> str:
    """Return what there is to say of a job beside its state: how far it is, what it waits for, or why it ended."""
    if row.state == "queued":
        text = what_it_waits_for(row)
    elif row.state == "succeeded":
        done = row.newest
        text = f"took {duration(done.seconds)}" if isinstance(done, DoneEvent) and done.seconds is not None else ""
    else:
        text = row.reason if row.has_ended else progress_of(row)
    return " ".join(text.split())
