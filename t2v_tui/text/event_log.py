"""A job's events as lines of text: what the log pane shows of a run whose engine writes nothing but events."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from t2v_core.disk.private import make_folder
from t2v_core.events import (
    AlarmEvent,
    CheckpointEvent,
    DoneEvent,
    ErrorEvent,
    Event,
    MachineEvent,
    ProgressEvent,
    SampleEvent,
    ScoreEvent,
    StageEvent,
    StepEvent,
    WarningEvent,
)
from t2v_core.format import duration, time_of_day
from t2v_core.workspace import Workspace
from t2v_tui.store.state import JobKey

CHUNK_BYTES = 1 << 20
# Exit codes of work that was asked to end: what it says of that is no fault.
ASKED_TO_END = (4, 130)


def journal_of(workspace: Workspace, job: JobKey) -> Path:
    """Return the file of a job's lines. They come from its events alone: whoever removes it loses nothing."""
    return workspace.root / ".t2v" / "tui" / "journal" / quote(job.host, safe="") / f"{job.job}.log"


class Journal:
    """One line an event, in order: who hears them again from the first writes nothing that is there already.

    Several apps may write at once, each the same bytes to the same place. A disk that takes no more costs the lines.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._seen = self._there = self._offset = 0
        with suppress(OSError):
            make_folder(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            self._look()

    def _look(self) -> None:
        """Whole lines there are, and where the next one goes."""
        place = 0
        while data := os.pread(self._descriptor, CHUNK_BYTES, place):
            self._there += data.count(b"\n")
            if (last := data.rfind(b"\n")) >= 0:
                self._offset = place + last + 1
            place += len(data)

    def again(self) -> None:
        """Begin again: the next event is the job's first."""
        self._seen = 0

    def take(self, event: Event) -> None:
        """Write the line of an event, unless it already exists there."""
        self._seen += 1
        if self._seen <= self._there or self._descriptor < 0:
            return
        line = " ".join(line_of(event).splitlines()).encode(errors="replace") + b"\n"
        with suppress(OSError):
            self._offset += os.pwrite(self._descriptor, line, self._offset)
            self._there = self._seen

    def close(self) -> None:
        """Close the file; what is taken afterwards is not written."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def line_of(event: Event) -> str:
    """Return `12:41:07 step 12390/50000 loss 0.0831 lr 1.0e-04 gn 0.42 45.1 samples/s`.

    WARN and ERROR stand there as loggers say them, so that the log view colours them.
    """
    return f"{time_of_day(event.t)} {_said(event)}".rstrip()


def _said(event: Event) -> str:  # noqa: PLR0911 - one line a kind
    match event:
        case ProgressEvent(done, total, unit):
            return f"{done} of {total} {unit}"
        case StageEvent(name, detail):
            return f"▸ {name}  {detail}"
        case StepEvent(step, total):
            return f"step {step}/{total} " + " ".join(_figures(event))
        case MachineEvent():
            return "gpu " + " ".join(_of_gpu(event))
        case SampleEvent(video=video, prompt=prompt):
            return f"sample {video}  “{prompt}”"
        case CheckpointEvent(path):
            return f"saved {path}"
        case ScoreEvent(name, value, step):
            return f"{name} {value}" + ("" if step is None else f" at step {step}")
        case WarningEvent(message, hint):
            return f"WARN {message}{_arrow(hint)}"
        case AlarmEvent(name, message, hint):
            clips = f"  clips {', '.join(map(str, event.clips))}" if event.clips else ""
            return f"WARN {name}: {message}{_arrow(hint)}{clips}"
        case ErrorEvent(message, hint, code):
            return f"■ {message}" if code in ASKED_TO_END else f"ERROR {message}{_arrow(hint)}"
        case DoneEvent(seconds) if seconds is not None:
            return f"done after {duration(seconds)}"
    return event.kind


def _arrow(hint: str) -> str:
    return f"  → {hint}" if hint else ""


def _of_gpu(event: MachineEvent) -> list[str]:
    forms = {
        "{:.0f}%": event.gpu_use_percent,
        "{:.1f} GB": event.gpu_memory_gb,
        "{:.0f} °C": event.gpu_temperature_c,
        "{:.0f} W": event.gpu_power_w,
    }
    return [form.format(value) for form, value in forms.items() if value is not None]


def _figures(event: StepEvent) -> list[str]:
    forms = {
        "loss {:.4f}": event.loss,
        "lr {:.1e}": event.learning_rate,
        "gn {:.2f}": event.grad_norm,
        "{:.1f} samples/s": event.samples_per_s,
    }
    said = [form.format(value) for form, value in forms.items() if value is not None]
    return said + ([slowest] if (slowest := slowest_in_words(event)) else [])


def slowest_in_words(event: StepEvent) -> str:
    """Return which of several processes all others wait for, as `slowest rank 3: 1.31 s, 0.9 s in the median`."""
    if event.slowest_rank is None or event.slowest_s is None or event.median_s is None:
        return ""
    return f"slowest rank {event.slowest_rank}: {event.slowest_s:.3g} s, {event.median_s:.3g} s in the median"
