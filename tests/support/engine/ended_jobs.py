"""Jobs that have ended, as their supervisors leave them, without running any."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2v_core.workspace import Workspace
from t2v_tui.library.runs.labels import Label, keep_label
from t2v_tui.store.state import JobKey

HELD_OUT_EVERY = 1_000


def add_ended(
    workspace: Path, verb: str, began_t: float, events: Sequence[dict[str, Any]], *, number: int = 0, **spec: Any
) -> str:
    """A job that succeeded after a minute; returns its id. number: makes it another one than those of its second"""
    job = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(began_t))}-{verb}-{number:04x}"
    folder = workspace / "jobs" / job
    folder.mkdir(parents=True)
    tables = {
        "request.json": {"verb": verb, "queued_t": began_t, "needs_gpu": False, "is_engine": True, "env": {}},
        "spec.json": spec,
        "state.json": {"started": began_t, "pid": 1, "boot_id": "another"},
        "exit.json": {"code": 0, "signal": None, "reason": "", "hint": "", "ended": began_t + 60},
    }
    for name, table in tables.items():
        (folder / name).write_text(json.dumps(table))
    (folder / "events.jsonl").write_bytes(lines_of(events, began_t))
    (folder / "log").touch()
    return job


def lines_of(events: Sequence[dict[str, Any]], t: float) -> bytes:
    return b"".join(json.dumps({"t": t, **event}).encode() + b"\n" for event in events)


def of_training(steps: int) -> list[dict[str, Any]]:
    """A loss that falls, with a little noise, and a held-out loss now and then."""
    events: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = round(0.08 + 1.6 / (1 + step / 700) + 0.02 * ((step * 7919) % 97) / 97, 5)
        figures = {"loss": loss, "learning_rate": 1e-4, "grad_norm": 0.4, "samples_per_s": 45.0}
        events.append({"kind": "step", "step": step, "total": steps, "epoch": step // 540, **figures})
        if step % HELD_OUT_EVERY == 0:
            events.append({"kind": "score", "name": "held_out_loss", "step": step, "value": round(loss + 0.01, 5)})
    return [*events, {"kind": "done", "seconds": 3600.0}]


def name_two_runs(root: Path) -> None:
    """Two trainings that differ in a setting, by the names that the documents call them."""
    for number, name in enumerate(("baseline", "wider")):
        began_t = time.time() - 7200 + 600 * number
        job = add_ended(root, "train", began_t, of_training(50), preset="tiny", batch_size=2 + number)
        keep_label(Workspace(root), JobKey("local", job), Label(name))
