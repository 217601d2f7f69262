"""A job's events as lines of text: what the log pane shows of a run whose engine writes nothing but events."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from t2v_core.disk.private import make_folder
from t2v_core.events import Event
from t2v_core.workspace import Workspace
from t2v_tui.store.state import JobKey
from t2v_tui.text.format import duration

CHUNK_BYTES = 1 << 20
# Exit codes of work that was asked to end: what it says of that is no fault.
ASKED_TO_END = (4, 130)
# Kinds that are one sentence; WARN and ERROR as loggers say them, so that the log view colours them.
FORMS = {
    "progress": "{done} of {total} {unit}", "stage": "▸ {name}  {detail}", "checkpoint": "saved {path}",
    "sample": "sample {video}  “{prompt}”", "warning": "WARN {message}", "error": "ERROR {message}",
}  # fmt: skip


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
        """Write the line of an event, unless it is there already."""
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

    WARN and ERROR stand there as loggers say them.
    """
    return f"{time.strftime('%H:%M:%S', time.localtime(event.t))} {_said(event)}".rstrip()


def _said(event: Event) -> str:
    one = FORMS.get(event.kind)
    fields = event.fields
    if event.kind == "error" and fields.get("exit_code") in ASKED_TO_END:
        return f"■ {fields.get('message', '')}"
    if one is not None:
        return one.format_map(_Lenient(fields)) + (f"  → {fields['hint']}" if fields.get("hint") else "")
    if event.kind == "step":
        return f"step {fields.get('step')}/{fields.get('total')} " + " ".join(_figures(event))
    if event.kind == "score":
        step = f" at step {fields['step']}" if "step" in fields else ""
        return f"{fields.get('name')} {fields.get('value')}{step}"
    seconds = fields.get("seconds")
    return event.kind + (f" after {duration(seconds)}" if isinstance(seconds, int | float) else "")


class _Lenient(dict[str, Any]):
    """What an event does not say reads as nothing."""

    def __missing__(self, key: str) -> str:
        return ""


def _figures(event: Event) -> list[str]:
    forms = (("loss", "loss {:.4f}"), ("learning_rate", "lr {:.1e}"), ("grad_norm", "gn {:.2f}"),
             ("samples_per_s", "{:.1f} samples/s"))  # fmt: skip
    values = [(form, event.fields.get(name)) for name, form in forms]
    return [form.format(value) for form, value in values if isinstance(value, int | float)]
