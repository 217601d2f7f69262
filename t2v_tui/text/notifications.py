"""When a job ends or raises an alarm: of which this is so between two states, words for it, and the user's command."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator

from t2v_core.events import AlarmEvent
from t2v_tui.store.state import JobView, State
from t2v_tui.text.job_words import JOB_GLYPHS, job_in_words

# Steps of other work, and children of this app: nobody waits for them.
QUIET_VERBS = frozenset({"bootstrap", "estimate"})
# Of a notification: desktops cut them anyway.
MOST_CHARACTERS = 200
# Beginnings of the names of terminals that take a title and a text (OSC 777); the others take one text (OSC 9).
WITH_TITLES = ("foot", "ghostty", "rxvt", "urxvt", "vte")


def ended_between(before: State, after: State) -> Iterator[JobView]:
    """Yield jobs that were alive and are not any more; not those that are heard of for the first time."""
    for job, known in _changed_between(before, after):
        if not known.row.has_ended and job.row.has_ended and job.row.verb not in QUIET_VERBS:
            yield job


def alarms_between(before: State, after: State) -> Iterator[tuple[JobView, AlarmEvent]]:
    """Yield jobs with an alarm that they did not have before; not those that are heard of for the first time."""
    for job, known in _changed_between(before, after):
        if job.row.alarm != known.row.alarm and (alarm := job.row.newest_alarm) is not None:
            yield job, alarm


def _changed_between(before: State, after: State) -> Iterator[tuple[JobView, JobView]]:
    """Jobs that were known, as they are and as they were; of 500 nearly all are the very same."""
    if after.jobs is before.jobs:
        return
    for key, job in after.jobs.items():
        known = before.jobs.get(key)
        if known is not None and known is not job:
            yield job, known


def words_of_alarm(job: JobView, alarm: AlarmEvent) -> tuple[str, str]:
    """Return title and text: `▲ loss-spike in train on local`, `the loss leapt to …`."""
    clips = f"clips: {', '.join(map(str, alarm.clips))}" if alarm.clips else ""
    title = f"▲ {alarm.name} in {job.row.verb} on {job.key.host}"
    return title, "\n".join(filter(None, (alarm.message, alarm.hint, clips)))


def notification_of(job: JobView) -> tuple[str, str]:
    """Return title and text: `✓ train succeeded on local`, `took 2:41`."""
    row = job.row
    title = f"{JOB_GLYPHS.get(row.state, ' ')} {row.verb} {row.state} on {job.key.host}"
    return title, "\n".join(filter(None, (job_in_words(row), row.hint if row.state == "failed" else "")))


def plain(text: str, characters: int = MOST_CHARACTERS) -> str:
    """Return it in one line, bounded, with nothing that a terminal would obey: names come from other machines."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def as_window_title(title: str) -> str:
    """Return what makes a terminal show it in its own frame, where somebody sees it who looks elsewhere."""
    return f"\x1b]2;t2v: {plain(title)}\x07"


def way_of_terminal(wanted: str, name: str) -> str:
    """Return osc9, osc777 or off. wanted: of [tui]; name: what the terminal calls itself, else its TERM"""
    if wanted != "auto":
        return wanted
    return "osc777" if name.lower().startswith(WITH_TITLES) else "osc9"


def as_notification(way: str, title: str, text: str) -> str:
    """Return what makes a terminal tell its desktop; empty when `way` is off.

    Source: iTerm2's escape codes (OSC 9), urxvt's notify extension (OSC 777).
    """
    title, text = plain(title), plain(text)
    if way == "osc777":
        return f"\x1b]777;notify;{title.replace(';', ',')};{text}\x1b\\"
    # A number at its beginning would be one of ConEmu's commands.
    return f"\x1b]9;t2v: {title}{f' · {text}' if text else ''}\x1b\\" if way == "osc9" else ""


def run_hook(command: str, job: JobView, alarm: AlarmEvent | None = None) -> None:
    """Start the command and leave it alone; what it writes goes nowhere, since this terminal is drawn on."""
    told = {
        "T2V_JOB": job.key.job, "T2V_HOST": job.key.host, "T2V_STATE": job.row.word, "T2V_REASON": job.row.reason,
        "T2V_VERB": job.row.verb,
    }  # fmt: skip
    if alarm is not None:
        told |= {"T2V_ALARM": alarm.name, "T2V_TEXT": alarm.message, "T2V_CLIPS": ",".join(map(str, alarm.clips or []))}
    subprocess.Popen(
        shlex.split(command), env=os.environ | told, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
