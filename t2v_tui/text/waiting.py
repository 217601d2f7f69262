"""What a job that draws waits for, until when, and whether it may run beside what it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2v_core.format import counted, duration, moment_ahead, size
from t2v_tui.store.state import JobKey, JobView, State
from t2v_tui.text.job_words import progress_of

if TYPE_CHECKING:
    from remote.jobs.metrics import MachineSample

MIB = 2**20
# Of what is free: allocators round up, and others may take some.
SHARE = 0.92
# What a verb's job is called.
NOUNS = {
    "train": "training", "generate": "video", "refine": "refinement", "sheet": "sheet of videos",
    "preprocess": "preprocessing", "evaluate": "evaluation",
}  # fmt: skip


def ahead_of(job: JobView, state: State) -> list[JobView]:
    """Return the jobs of its host that it waits for: what it is to come after, and those before it in the line."""
    row = job.row
    there = [one for one in state.jobs.values() if one.key.host == job.key.host and not one.row.has_ended]
    in_line = [
        one for one in there
        if row.needs_gpu and one.row.needs_gpu and one.key != job.key
        and (one.row.state != "queued" or one.row.began_t < row.began_t)
    ]  # fmt: skip
    first = [one for one in there if one.row.job == row.after and one not in in_line]
    return sorted([*first, *in_line], key=lambda one: (one.row.state == "queued", one.row.began_t))


def waits_in_words(job: JobView, state: State, now_t: float) -> str:
    """Return what it waits for and until about when, a line each; nothing for a job that is about to begin.

    now_t: Unix seconds by this machine's clock, in whose time zone the moment is said
    """
    ahead = ahead_of(job, state)
    at_work = [one for one in ahead if one.row.state != "queued"]
    if not ahead:
        return ""
    if not at_work:
        return f"it waits for {counted(len(ahead), 'job')} before it, which wait as well"
    first, others = at_work[0], len(ahead) - 1
    left_s = time_left_of(first.key, state)
    how_far = progress_of(first.row)
    work = NOUNS.get(first.row.verb, first.row.verb)
    lines = [f"it waits for the {work} on {first.key.host}" + (f": {how_far}" if how_far else "")]
    if left_s is not None:
        lines.append(f"about {duration(left_s)} to go: until {moment_ahead(now_t + left_s, now_t)}")
    else:
        lines.append("how long that takes is not known yet")
    return "\n".join([*lines, *([f"and then for {counted(others, 'job')} before it"] if others else [])])


def time_left_of(job: JobKey, state: State) -> float | None:
    """Return the seconds that a followed job has to go at its present rate; None while that is not known."""
    run = state.runs.get(job)
    return run.time_left_s if run is not None else None


@dataclass(frozen=True)
class Beside:
    """Whether a job may run beside what it waits for.

    fits:  None when it cannot be told
    words: why, in a sentence
    """

    fits: bool | None
    words: str


@dataclass(frozen=True)
class Free:
    """Bytes of a machine's first GPU, or of its memory where the processor computes.

    gpu: what the driver calls it; None where there is none
    """

    free: int
    total: int
    gpu: str | None


def free_of(machine: MachineSample | None) -> Free | None:
    """Return what is free where a model computes; None when the machine does not say."""
    if machine is None:
        return None
    for gpu in machine.gpus[:1]:
        if gpu.memory_used_mib is None or gpu.memory_total_mib is None:
            return None
        total = int(gpu.memory_total_mib * MIB)
        return Free(total - int(gpu.memory_used_mib * MIB), total, gpu.name or "GPU")
    free, total_bytes = machine.memory_available_bytes, machine.memory_total_bytes
    return None if free is None or total_bytes is None else Free(free, total_bytes, None)


def beside(room: Free | None, least: int | None, why_unknown: str = "") -> Beside:
    """Decide by the estimate whether a video can be drawn beside what its machine does.

    least: bytes that it takes, as the engine there reckons; None while that is not known, or for `why_unknown`
    """
    if room is None:
        return Beside(None, "what memory is free there is not known: both would share what there is, and be slower")
    there = f"{size(room.free)} of the {'GPU' if room.gpu else 'machine'}'s {size(room.total)} are free"
    if least is None:
        return Beside(None, f"{there}; {why_unknown or 'what it takes is not known'}")
    needs = f"it takes {size(least)}"
    if least <= room.free * SHARE:
        return Beside(True, f"{needs}, and {there}")
    return Beside(False, f"{needs}, and only {there}")
