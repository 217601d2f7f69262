"""A training of a few steps behind the engine's own door: its events, its answers to `stop`, `save` and `pause`."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2v_core import run_job as door
from t2v_core.disk.files import describe_os_error
from t2v_core.errors import Stopped, WorkFailed
from t2v_core.events import CheckpointEvent, EventWriter, StepEvent
from t2v_core.events.results import Result
from t2v_core.job import Job
from t2v_core.workspace import Workspace

STEP_S = 5.0
SAVED_EVERY = 3
LOG = "log"


@dataclass(frozen=True, kw_only=True)
class Steps(Result):
    steps: int


def main(argv: list[str]) -> int:
    """As t2v_core.run_job.main, for `PYTHON -m t2v_core VERB JOBDIR`."""
    directory = Path(argv[-1])
    say(directory, "at work")
    time.sleep(0.5)  # until Python has imported what it needs
    with door.events_of(directory) as events:
        job = Job(directory, Workspace.of_job(directory), events)
        try:
            with job.stoppable():
                return door.run_job(argv[-2], job)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - as the engine's own
            return door._report(error, events)


def say(directory: Path, text: str) -> None:
    descriptor = os.open(directory / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, text.encode() + b"\n")
    finally:
        os.close(descriptor)


def train(spec: dict[str, Any], job: Job) -> Steps:
    folder = job.workspace.root / spec["checkpoints"]
    try:
        return steps(spec, folder, job)
    except OSError as error:
        raise describe_os_error(error, folder) from None


def steps(spec: dict[str, Any], folder: Path, job: Job) -> Steps:
    folder.mkdir(parents=True, exist_ok=True)
    step = max(map(step_of, complete(folder)), default=0) if spec.get("resume") else 0
    is_deaf = spec.get("is_deaf", False)
    for number in (signal.SIGINT, signal.SIGTERM) if is_deaf else ():
        signal.signal(number, signal.SIG_IGN)
    while step < spec["steps"]:
        try:
            if not is_deaf:
                job.check_stop()
            if job.is_asked_to_save() and step:
                save(folder, step, job.events)
                job.has_saved()
        except Stopped as stopped:
            if step:
                save(folder, step, job.events)
            raise Stopped(f"{stopped.message} after step {step}", exit_code=stopped.exit_code) from None
        for _ in range(spec.get("rests", 0)):  # a step that takes long, and answers meanwhile
            if job.stop_request() is not None:
                break
            time.sleep(STEP_S)
        time.sleep(STEP_S)
        step += 1
        job.events.emit(StepEvent(step))
        if step == spec.get("fails_at"):
            raise WorkFailed("the loss is not a number")
        if step % SAVED_EVERY == 0:
            save(folder, step, job.events)
    save(folder, step, job.events)
    return Steps(steps=step)


def complete(folder: Path) -> list[Path]:
    return [one for one in folder.glob("checkpoint_*") if (one / "manifest.json").exists()]


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("_")[2])


def save(folder: Path, step: int, events: EventWriter) -> None:
    """A checkpoint as the engine makes them: under another name, synced, renamed."""
    final, partial = folder / f"checkpoint_{step:03d}", folder / ".partial-checkpoint"
    if final.exists():
        return
    partial.mkdir(exist_ok=True)
    content = f"weights after step {step}"
    manifest = {"files": {"weights": {"size_bytes": len(content)}}}
    for name, text in (("weights", content), ("manifest.json", json.dumps(manifest))):
        with (partial / name).open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    partial.rename(final)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    events.emit(CheckpointEvent(str(final), step=step))


@contextmanager
def in_the_engines_place() -> Iterator[None]:
    """The door opens on `train` above, and what it says for people goes nowhere."""
    names = {"_load": lambda _: train, "read_spec": lambda _, path: json.loads(path.read_text())}
    saved = {name: getattr(door, name) for name in names}
    try:
        for name, value in names.items():
            setattr(door, name, value)
        vars(door)["print"] = lambda *_, **__: None
        yield
    finally:
        for name, value in saved.items():
            setattr(door, name, value)
        del vars(door)["print"]
