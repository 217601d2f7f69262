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

from t2v_core.events import Event
from t2v_tui.words import duration

# A log that is read later wants a few lines a minute, not one a step.
PLAIN_INTERVAL_S = 5.0


class Narrator(Protocol):
    """Shows what happens."""

    def show(self, event: Event) -> None:
        """Show one event of the engine."""

    def say(self, text: str, style: str = "") -> None:
        """Write one line; `style` is Rich's, and nothing where there is no colour."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def narrator() -> Narrator:
    """The one that fits stderr."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "")
    return TerminalNarrator() if is_terminal else PlainNarrator(sys.stderr)


class Pace:
    """How fast something goes, over its last hundred reports."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, float]] = deque(maxlen=100)

    def report(self, t: float, done: float) -> None:
        if self._reports and done < self._reports[-1][1]:
            self._reports.clear()
        self._reports.append((t, done))

    def per_s(self) -> float | None:
        """None until two reports tell."""
        if len(self._reports) < 2:
            return None
        (t0, first), (t1, last) = self._reports[0], self._reports[-1]
        return (last - first) / (t1 - t0) if t1 > t0 and last > first else None

    def time_left(self, total: float) -> str:
        rate = self.per_s()
        return f"{duration((total - self._reports[-1][1]) / rate)} left" if rate else ""


def counted(event: Event) -> tuple[float, float] | None:
    """(done, total) of a progress or step event."""
    done = event.fields.get("done" if event.kind == "progress" else "step")
    total = event.fields.get("total")
    is_counted = isinstance(done, int | float) and isinstance(total, int | float)
    return (float(done), float(total)) if is_counted and done is not None and total is not None else None


def figures(event: Event, pace: Pace, total: float) -> str:
    """What stands beside the bar: `loss 0.312 · 45.1 samples/s · 3:12 left`."""
    fields = event.fields
    if event.kind == "step":
        loss, speed = fields.get("loss"), fields.get("samples_per_s")
        parts = [f"loss {loss:.4f}" if isinstance(loss, float) else f"loss {loss}"]
        parts += [f"{speed:.1f} samples/s"] if isinstance(speed, int | float) else []
    else:
        rate = pace.per_s()
        parts = [f"{rate:.3g} {fields.get('unit', '')}/s"] if rate else []
    return " · ".join([*parts, *filter(None, [pace.time_left(total)])])


def sentence(event: Event) -> tuple[str, str] | None:
    """The line and its style for an event that is told once; None for those that move a bar or end the job."""
    fields = event.fields
    match event.kind:
        case "stage":
            detail = fields.get("detail")
            return f"▸ {fields.get('name')}" + (f"  {detail}" if detail else ""), "bold"
        case "sample":
            prompt = fields.get("prompt")
            return f"  sample {fields.get('video')}" + (f"  “{prompt}”" if prompt else ""), ""
        case "checkpoint":
            return f"  checkpoint {fields.get('path')}", "green"
        case "score":
            return f"  {fields.get('name')} {fields.get('value')}", ""
        case "warning":
            hint = fields.get("hint")
            return f"warning: {fields.get('message')}" + (f"\nhint:    {hint}" if hint else ""), "yellow"
    return None


class PlainNarrator:
    """Whole lines, no escape codes; progress at most every few seconds, and always its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said_at = time.monotonic()
        self._pace = Pace()

    def show(self, event: Event) -> None:
        if told := sentence(event):
            self.say(told[0])
        if event.kind == "stage":
            self._said_at = time.monotonic()
            self._pace = Pace()
        if (count := counted(event)) is None:
            return
        done, total = count
        self._pace.report(event.t, done)
        if done >= total or time.monotonic() - self._said_at >= PLAIN_INTERVAL_S:
            self._said_at = time.monotonic()
            unit = event.fields.get("unit", "steps")
            self.say(f"  {done:g} of {total:g} {unit}  {figures(event, self._pace, total)}".rstrip())

    def say(self, text: str, style: str = "") -> None:  # noqa: ARG002  a plain line has no style
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing is held."""


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
        if told := sentence(event):
            self.say(*told)
        if event.kind == "stage":
            self._drop_bar()
        if (count := counted(event)) is None:
            return
        done, total = count
        self._pace.report(event.t, done)
        beside = figures(event, self._pace, total)
        unit = str(event.fields.get("unit", "steps"))
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
        self._console.print(text, style=style or None, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


class LogTail:
    """What a log has gained since the last look, for `--verbose`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0

    def lines(self) -> list[str]:
        if not self._file.exists():
            return []
        with self._file.open("rb") as log:
            log.seek(self._offset)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()
