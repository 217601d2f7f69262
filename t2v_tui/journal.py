"""A job's events as lines of text: what the log pane shows of a run whose engine writes nothing but events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from t2v_core.events import Event
from t2v_core.workspace import Workspace
from t2v_tui.state import JobKey
from t2v_tui.words import duration

# Kinds that are one sentence; WARN and ERROR as loggers say them, so that the log view colours them.
FORMS = {
    "progress": "{done} of {total} {unit}", "stage": "▸ {name}  {detail}", "checkpoint": "saved {path}",
    "sample": "sample {video}  “{prompt}”", "warning": "WARN {message}", "error": "ERROR {message}",
}  # fmt: skip


def journal_of(workspace: Workspace, job: JobKey) -> Path:
    """Written anew whenever the job is followed from its beginning; nothing but the events is needed for it."""
    return workspace.root / ".t2v" / "tui" / "journal" / quote(job.host, safe="") / f"{job.job}.log"


def line_of(event: Event) -> str:
    """`12:41:07 step 12390/50000 loss 0.0831 lr 1.0e-04 gn 0.42 45.1 samples/s`; WARN and ERROR as loggers say them."""
    return f"{time.strftime('%H:%M:%S', time.localtime(event.t))} {_said(event)}".rstrip()


def _said(event: Event) -> str:
    one = FORMS.get(event.kind)
    fields = event.fields
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
