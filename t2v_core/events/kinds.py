"""The kinds of events, and the border at which a line becomes one.

Nothing of a line is lost on its way through: an older t2v passes on what a newer one says, and the other way round. So
a field added to a kind has a default, and what an older version does not say reads as that.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from t2v_core.disk.plain_json import table
from t2v_core.disk.plain_text import escaped
from t2v_core.events.fields import Json, fits, lacks, plain, split

LATEST_T = 1e11  # what no calendar has is no time
# What a person asked for stands in one of these fields of a result, whatever the verb; the others tell about it.
ASKED_FOR = ("video", "checkpoint", "scores", "paths", "data")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of `events.jsonl`; each kind is a class of its own.

    t:     Unix time in seconds; now, where it is not said
    extra: what the line says beyond the fields of its kind
    """

    KIND: ClassVar[str]

    t: float = field(default_factory=time.time)
    extra: Mapping[str, Json] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Return the kind as the line says it."""
        return self.KIND

    def plain(self) -> dict[str, Json]:
        """Return what the line says beside time and kind, in the order in which it is written."""
        return {**plain(self), **self.extra}

    def to_table(self) -> dict[str, Json]:
        """Return the whole line as a JSON object."""
        return {"t": self.t, "kind": self.kind, **self.plain()}

    def to_line(self) -> bytes:
        """Return the event as a line of JSON in UTF-8, newline included."""
        values = {name: _written(value) for name, value in self.to_table().items()} | {"t": round(self.t, 3)}
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace") + b"\n"

    @staticmethod
    def from_line(line: bytes | str) -> Event | None:
        """Return the event, or None for a line that is torn or is not one of ours."""
        try:
            return _event_in(table(line.encode() if isinstance(line, str) else line))
        except ValueError:
            return None

    @staticmethod
    def from_table(said: Mapping[str, Json]) -> Event | None:
        """Return the event that a JSON object is, or None."""
        return _event_in(dict(said))


@dataclass(frozen=True)
class StageEvent(Event):
    """A part of the work begins. model, steps: of a refinement; frames: that are decoded"""

    KIND = "stage"
    name: str
    detail: str = ""
    model: str | None = None
    steps: int | None = None
    frames: int | None = None


@dataclass(frozen=True)
class ProgressEvent(Event):
    """How far that part is."""

    KIND = "progress"
    done: float
    total: float
    unit: str = ""


@dataclass(frozen=True)
class StepEvent(Event):
    """An optimiser step is done.

    step:      from 1 to `total`
    data_wait: the share of the time that went into waiting for data
    mfu:       the share of the GPU's peak, where that is known
    slowest_rank, slowest_s, median_s: of several processes, the one that all wait for: what it does by itself in a step
               took so long, and that of all so long in the median
    """

    KIND = "step"
    step: int
    total: int | None = None
    epoch: int | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    samples_per_s: float | None = None
    data_wait: float | None = None
    mfu: float | None = None
    slowest_rank: int | None = None
    slowest_s: float | None = None
    median_s: float | None = None

    def figures(self) -> dict[str, float]:
        """Return what was measured, by name."""
        return {name: value for name, value in self.plain().items() if isinstance(value, float | int)}


@dataclass(frozen=True)
class MachineEvent(Event):
    """What the GPU of the work did lately; None where its driver does not say."""

    KIND = "machine"
    gpu_use_percent: float | None = None
    gpu_memory_gb: float | None = None
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None


@dataclass(frozen=True)
class SampleEvent(Event):
    """A video to look at. video, settings: paths; step: of the training that made it"""

    KIND = "sample"
    video: str
    settings: str | None = None
    prompt: str = ""
    step: int | None = None


@dataclass(frozen=True)
class CheckpointEvent(Event):
    """A checkpoint is complete on disk. path: relative to the workspace; reason: that it was saved for"""

    KIND = "checkpoint"
    path: str
    epoch: int | None = None
    step: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ScoreEvent(Event):
    """One figure; `extra` has its protocol.

    value: None when there was nothing to measure
    step:  of a score on the way, as training's held-out loss; None for one of a result
    """

    KIND = "score"
    name: str
    value: float | None
    step: int | None = None


@dataclass(frozen=True)
class WarningEvent(Event):
    """What people should know, and what to do about it; the work goes on."""

    KIND = "warning"
    message: str
    hint: str = ""


@dataclass(frozen=True)
class AlarmEvent(Event):
    """Something went wrong with work that nobody may be looking at, said once by whoever saw it.

    name:  pace, loss-spike, no-step, gpu-memory or memory
    step:  of a training, the last one that was done
    cause: what could be seen of why, in words; empty where nothing could
    clips: ids of those that the step was taken on
    """

    KIND = "alarm"
    name: str
    message: str
    hint: str = ""
    step: int | None = None
    cause: str = ""
    clips: list[str] | None = None


@dataclass(frozen=True)
class ErrorEvent(Event):
    """The last word of work that failed or was stopped."""

    KIND = "error"
    message: str = ""
    hint: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class DoneEvent(Event):
    """The last word of work that is done. seconds: it took; `extra` is the verb's result, see `results.py`"""

    KIND = "done"
    seconds: float | None = None

    def asked_for(self) -> list[str]:
        """Return the paths that the work was for, as the engine says them: absolute, or relative to its workspace."""
        said = next((self.extra[name] for name in ASKED_FOR if name in self.extra), [])
        return [str(path) for path in (said if isinstance(said, list) else [said])]


@dataclass(frozen=True)
class OtherEvent(Event):
    """One of a kind that this version does not know, or without what its kind needs: it is passed on, and not shown."""

    KIND = ""
    said: str

    @property
    def kind(self) -> str:
        """Return the kind as the line says it."""
        return self.said

    def plain(self) -> dict[str, Json]:
        """Return what the line says beside time and kind."""
        return dict(self.extra)


KINDS: Mapping[str, type[Event]] = {
    kind.KIND: kind
    for kind in (
        StageEvent, ProgressEvent, StepEvent, MachineEvent, SampleEvent, CheckpointEvent, ScoreEvent, WarningEvent,
        AlarmEvent, ErrorEvent, DoneEvent,
    )
}  # fmt: skip


def _event_in(values: dict[str, Any]) -> Event | None:
    try:
        t, name = float(values.pop("t")), str(values.pop("kind"))
    except (ValueError, KeyError, TypeError):
        return None
    if not abs(t) < LATEST_T:
        return None
    kind = KINDS.get(name)
    # Most lines say just what their kind has: looking at each value anew would take half as long as reading the JSON.
    if kind is not None and fits(kind, values):
        return _made(kind, t, values, {})
    known, extra = ({}, values) if kind is None else split(kind, values)
    if kind is None or lacks(kind, known):
        return OtherEvent(name, t=t, extra=values)
    return _made(kind, t, known, extra)


def _made(kind: type[Event], t: float, known: dict[str, Any], extra: dict[str, Json]) -> Event:
    """What `kind(**known, t=t, extra=extra)` is, in a fifth of the time: a frozen class sets each field by a call."""
    event = object.__new__(kind)
    vars(event).update(known, t=t, extra=extra)
    return event


def _written(value: Json | Path) -> Json:
    """JSON has no NaN, and a reader in another language would stop at one."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return escaped(str(value)) if isinstance(value, Path | str) else value
