"""Jobs for the benchmarks: each verb through the engine's door, as a user's would go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from t2v_core.events import DoneEvent, Event, ScoreEvent, read_events

SHAPES = {"data": "data/shapes"}
ENCODERS = {"vae": "embedded", "text_encoder": "embedded", "frames": 8}


def run(workspace: Path, verb: str, **values: Any) -> list[Event]:
    """Run one job to its end and return its events; a job that fails ends the benchmark with its words."""
    directory = workspace / "jobs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{verb}-{os.urandom(2).hex()}"
    directory.mkdir(parents=True)
    (directory / "spec.json").write_text(json.dumps(values))
    with (directory / "log").open("wb") as log:
        ended = subprocess.run(
            [sys.executable, "-m", "t2v_core", verb, str(directory)], stdout=log, stderr=log, check=False
        )
    events = list(read_events(directory / "events.jsonl"))
    if ended.returncode:
        sys.exit(f"{verb} ended with {ended.returncode}: {(directory / 'log').read_text()[-2000:]}")
    return events


def result(events: list[Event]) -> dict[str, Any]:
    """The fields of the `done` event."""
    return next(event.plain() for event in events if isinstance(event, DoneEvent))


def scores(events: list[Event]) -> dict[str, float]:
    """Every score's value by name; of several with one name, the last."""
    return {event.name: event.value for event in events if isinstance(event, ScoreEvent) and event.value is not None}


def make_world(workspace: Path, *, clips: int, test_clips: int) -> None:
    """The built-in world, preprocessed with the embedded encoders; what is there already is kept."""
    run(workspace, "shapes", **SHAPES, clips=clips, test_clips=test_clips)
    run(workspace, "preprocess", **SHAPES, **ENCODERS)
