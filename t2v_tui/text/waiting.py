"""What a job that draws waits for, until when, and whether it may run beside what it waits for."""

from __future__ import annotations

from dataclasses import dataclass

from t2v_core.format import counted, duration, moment_ahead, size
from t2v_tui.store.state import LOCAL, JobKey, JobView, State
from t2v_tui.text.job_words import progress_of

MIB = 2**20
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


def beside(job: JobView, state: State, *, is_open_model: bool) -> Beside:
    """Reckon from what the GPU holds now whether a video can be drawn beside it.

    A training draws samples of its own, so what it holds is at least what its model takes to draw one: where as much is
    free again, one more fits. Of an open model that says nothing.
    """
    host = state.hosts.get(job.key.host)
    gpus = host.machine.gpus if host is not None and host.machine is not None else ()
    known = [
        (gpu.memory_used_mib * MIB, gpu.memory_total_mib * MIB)
        for gpu in gpus[:1]
        if gpu.memory_used_mib is not None and gpu.memory_total_mib is not None
    ]
    if not known:
        where = "this machine" if job.key.host == LOCAL else job.key.host
        return Beside(None, f"no GPU memory of {where} is known: both would share what there is, and be slower")
    used, total = map(int, known[0])
    free = total - used
    there = f"{size(free)} of {size(total)} are free"
    if is_open_model:
        return Beside(None, f"{there}; what an open model takes says t2v estimate --model")
    if free >= used:
        return Beside(True, f"{there}, and the training, which draws samples too, holds {size(used)}")
    return Beside(False, f"only {there}, less than the {size(used)} that the training holds, which draws samples too")
