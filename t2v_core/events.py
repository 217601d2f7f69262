"""What the engine answers: one JSON object a line in `events.jsonl`, and nothing else.

{"t": 1763832901.2, "kind": "step", "step": 12, "loss": 0.31, …}

kind        fields
stage       name, detail            a part of the work begins
progress    done, total, unit       how far that part is
step        step, total, epoch, loss, learning_rate, grad_norm, samples_per_s, data_wait
sample      video, prompt           a video to look at
checkpoint  path, epoch, step, reason
score       name, value, …          one figure with its protocol
warning     message, hint
error       message, hint, exit_code
done        seconds, …              the result: where it lies
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal["stage", "progress", "step", "sample", "checkpoint", "score", "warning", "error", "done"]
KINDS: tuple[str, ...] = get_args(Kind)

# A progress line for every clip of a large set would be most of the file; a screen shows no more than a few a second.
PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Event:
    """One line of `events.jsonl`.

    t: Unix time in seconds
    fields: everything else on the line
    """

    t: float
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)

    def to_line(self) -> bytes:
        values = {"t": round(self.t, 3), "kind": self.kind} | {k: _plain(v) for k, v in self.fields.items()}
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes | str) -> Event | None:
        """The event, or None for a line that is torn or is not one of ours."""
        try:
            values = json.loads(line)
            return cls(float(values.pop("t")), str(values.pop("kind")), values)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def _plain(value: Any) -> Any:
    """JSON has no NaN, and a reader in another language would stop at one."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value) if isinstance(value, Path) else value


class EventWriter:
    """Appends events to a file, one `write` a line, so that a reader never sees two lines mixed.

    Writing never stops the work: when the disk takes no more, the event is counted in `lost` and the work goes on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._progress_at = 0.0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        """A run that was killed can leave half a line; the next event must not be glued to it."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            self._append(b"\n")

    def _append(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            written = 0
        self.lost += written < len(data)

    def emit(self, kind: Kind, **fields: Any) -> None:
        self._append(Event(time.time(), kind, fields).to_line())

    def stage(self, name: str, detail: str = "") -> None:
        self._progress_at = 0.0
        self.emit("stage", name=name, detail=detail)

    def progress(self, done: int, total: int, unit: str) -> None:
        """At most five lines a second, and always the first and the last."""
        now = time.monotonic()
        if done >= total or now - self._progress_at >= PROGRESS_INTERVAL_S:
            self._progress_at = now
            self.emit("progress", done=done, total=total, unit=unit)

    def warning(self, message: str, hint: str = "") -> None:
        self.emit("warning", message=message, hint=hint)

    def mute(self) -> None:
        """From now on write nothing: of several processes that share a job, one speaks."""
        self.close()
        self._descriptor = os.open(os.devnull, os.O_RDWR)

    def close(self) -> None:
        os.close(self._descriptor)


def read_events(path: Path) -> Iterator[Event]:
    """Every whole event of the file; a torn line, as a kill leaves it, is passed over."""
    reader = EventReader(path)
    yield from reader.poll()


class EventReader:
    """Follows a growing file: each `poll` gives the whole events that were added since the last one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0

    def poll(self) -> list[Event]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [event for line in whole.splitlines() if (event := Event.from_line(line)) is not None]
