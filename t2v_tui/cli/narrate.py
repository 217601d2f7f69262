"""Events as a person reads them, on stderr: a bar with rate and time left in a terminal, plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from t2v_core.disk.opening import MOST_BYTES
from t2v_core.disk.plain_json import Cutter
from t2v_core.disk.plain_text import for_terminal
from t2v_core.events import (
    AlarmEvent,
    CheckpointEvent,
    Event,
    SampleEvent,
    ScoreEvent,
    StageEvent,
    StepEvent,
    WarningEvent,
)
from t2v_core.format import duration
from t2v_tui.text.job_words import counted, unit_of

# A log that is read later wants a few lines a minute, not one a step.
PLAIN_INTERVAL_S = 5.0


class Narrator(Protocol):
    """Shows what happens."""

    def show(self, event: Event) -> None:
        """Show one event of the engine."""

    def say(self, text: str, style: str = "") -> None:
        """Write one line; `style` is Rich's, and nothing where there is no colour."""

    def log(self, line: str) -> None:
        """Show a line of the engine's log, for `--verbose`."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def narrator() -> Narrator:
    """Return the one that fits stderr."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "")
    return TerminalNarrator() if is_terminal else PlainNarrator(sys.stderr)


class Pace:
    """How fast something goes, over its last hundred reports."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, float]] = deque(maxlen=100)

    def report(self, t: float, done: float) -> None:
        """Note how much was done at `t`, in seconds; when that is less than before, it begins anew."""
        if self._reports and done < self._reports[-1][1]:
            self._reports.clear()
        self._reports.append((t, done))

    def per_s(self) -> float | None:
        """Return the rate a second; None until two reports tell."""
        if len(self._reports) < 2:
            return None
        (t0, first), (t1, last) = self._reports[0], self._reports[-1]
        return (last - first) / (t1 - t0) if t1 > t0 and last > first else None

    def time_left(self, total: float) -> str:
        """Return `3:12 left`; empty while the rate is not known."""
        rate = self.per_s()
        return f"{duration((total - self._reports[-1][1]) / rate)} left" if rate else ""


def figures(event: Event, pace: Pace, total: float) -> str:
    """Return what stands beside the bar: `loss 0.312 · 45.1 samples/s · 3:12 left`."""
    if isinstance(event, StepEvent):
        loss, speed = event.loss, event.samples_per_s
        parts = [f"loss {loss:.4f}" if isinstance(loss, float) else f"loss {loss}"]
        parts += [f"{speed:.1f} samples/s"] if speed is not None else []
    else:
        rate = pace.per_s()
        parts = [f"{rate:.3g} {unit_of(event)}/s"] if rate else []
    return " · ".join([*parts, *filter(None, [pace.time_left(total)])])


def sentence(event: Event) -> tuple[str, str] | None:
    """Return the line and its style for an event that is told once; None for one that moves a bar or ends the job."""
    match event:
        case StageEvent(name, detail):
            return f"▸ {name}" + (f"  {detail}" if detail else ""), "bold"
        case SampleEvent(video=video, prompt=prompt):
            return f"  sample {video}" + (f"  “{prompt}”" if prompt else ""), ""
        case CheckpointEvent(path):
            return f"  checkpoint {path}", "green"
        case ScoreEvent(name, value):
            return f"  {name} {value}", ""
        case WarningEvent() | AlarmEvent():
            return _said_against(event), "yellow"
    return None


def _said_against(event: WarningEvent | AlarmEvent) -> str:
    if isinstance(event, WarningEvent):
        lines, clips = [f"warning: {event.message}"], None
    else:
        lines, clips = [f"alarm:   {event.name}: {event.message}"], event.clips
    lines += [f"hint:    {event.hint}"] if event.hint else []
    lines += [f"clips:   {', '.join(map(str, clips))}"] if clips else []
    return "\n".join(lines)


class PlainNarrator:
    """Whole lines, no escape codes; progress at most every few seconds, and always its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said_at = time.monotonic()
        self._pace = Pace()
        self._ended: tuple[float, float] | None = None

    def show(self, event: Event) -> None:
        """Write the line of an event; progress at most every 5 s, and always its end."""
        if told := sentence(event):
            self.say(told[0])
        if isinstance(event, StageEvent):
            self._said_at, self._ended = time.monotonic(), None
            self._pace = Pace()
        if (count := counted(event)) is None:
            return
        done, total = count
        self._pace.report(event.t, done)
        is_end = done >= total and count != self._ended
        if is_end or (done < total and time.monotonic() - self._said_at >= PLAIN_INTERVAL_S):
            self._said_at = time.monotonic()
            self._ended = count if is_end else None
            self.say(f"  {done:g} of {total:g} {unit_of(event)}  {figures(event, self._pace, total)}".rstrip())

    def say(self, text: str, style: str = "") -> None:  # a plain line has no style
        """Write one line, whatever its style."""
        print(for_terminal(text), file=self._stream, flush=True)

    def log(self, line: str) -> None:
        """Write a line of the engine's log, with a bar before it."""
        self.say(f"  │ {line}")

    def close(self) -> None:
        """Do nothing: nothing is held."""


class TerminalNarrator:
    """One bar for what is going on now; lines scroll above it. Rich honours NO_COLOR."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        count = TextColumn("{task.completed:g} of {task.total:g} {task.fields[unit]}", markup=False)
        beside = TextColumn("{task.fields[figures]}", markup=False)
        self._progress = Progress(TextColumn(" "), BarColumn(24), count, beside, console=self._console, transient=True)
        self._task: TaskID | None = None
        self._pace = Pace()

    def show(self, event: Event) -> None:
        """Write the line of an event above the bar, or move the bar."""
        if told := sentence(event):
            self.say(*told)
        if isinstance(event, StageEvent):
            self._drop_bar()
        if (count := counted(event)) is None:
            return
        done, total = count
        self._pace.report(event.t, done)
        beside = figures(event, self._pace, total)
        unit = unit_of(event)
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("", total=total, unit=unit, figures=beside)
        self._progress.update(self._task, completed=done, total=total, unit=unit, figures=beside)

    def _drop_bar(self) -> None:
        self._pace = Pace()
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def say(self, text: str, style: str = "") -> None:
        """Write one line above the bar, in a style of Rich's."""
        self._console.print(for_terminal(text), style=style or None, markup=False, soft_wrap=True)

    def log(self, line: str) -> None:
        """Write a line of the engine's log above the bar, dim."""
        self.say(f"  │ {line}", "dim")

    def close(self) -> None:
        """Stop the bar and take it off the terminal."""
        self._progress.stop()


class LogTail:
    """What a log has gained since the last look, for `--verbose`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._cutter = Cutter()

    def lines(self) -> list[str]:
        """Return the lines that became whole since the last look; none while there is no log."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as log:
            log.seek(self._offset)
            data = log.read(MOST_BYTES)
        self._offset += len(data)
        return [line for whole in self._cutter.take(data) for line in whole.decode(errors="replace").splitlines()]
