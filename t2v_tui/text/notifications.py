"""When a job ends: which have ended between two states, the words for it, and a command of the user's that is run."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator

from t2v_tui.store.state import JobView, State
from t2v_tui.text.job_words import JOB_GLYPHS, job_in_words

# Steps of other work, and children of this app: nobody waits for them.
QUIET_VERBS = frozenset({"bootstrap", "estimate"})


def ended_between(before: State, after: State) -> Iterator[JobView]:
    """Yield jobs that were alive and are not any more; not those that are heard of for the first time."""
    for key, job in after.jobs.items():
        known = before.jobs.get(key)
        if known is not None and not known.row.has_ended and job.row.has_ended and job.row.verb not in QUIET_VERBS:
            yield job


def notification_of(job: JobView) -> tuple[str, str]:
    """Return title and text: `✓ train succeeded on local`, `took 2:41`."""
    row = job.row
    title = f"{JOB_GLYPHS.get(row.state, ' ')} {row.verb} {row.state} on {job.key.host}"
    return title, "\n".join(filter(None, (job_in_words(row), row.hint if row.state == "failed" else "")))


def as_window_title(title: str) -> str:
    """Return what makes a terminal show it in its own frame, where somebody sees it who looks elsewhere."""
    plain = "".join(letter for letter in title if letter.isprintable())
    return f"\x1b]2;t2v: {plain}\x07"


def run_hook(command: str, job: JobView) -> None:
    """Start the command and leave it alone; what it writes goes nowhere, since this terminal is drawn on."""
    told = {
        "T2V_JOB": job.key.job, "T2V_HOST": job.key.host, "T2V_STATE": job.row.state, "T2V_REASON": job.row.reason,
        "T2V_VERB": job.row.verb,
    }  # fmt: skip
    subprocess.Popen(
        shlex.split(command), env=os.environ | told, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
