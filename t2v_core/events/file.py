"""The file of a job's events: one that appends and never stops the work, and one that follows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from t2v_core.disk.plain_json import PIECE_BYTES, Cutter
from t2v_core.events.kinds import DoneEvent, ErrorEvent, Event, ProgressEvent, StageEvent, WarningEvent

# A progress line for every clip of a large set would be most of the file; a screen shows no more than a few a second.
PROGRESS_INTERVAL_S = 0.2

RESERVE, RESERVE_BYTES = ".reserve-events", 16 * 1024


class EventWriter:
    """Appends events to a file, one `write` a line, so that a reader never sees two lines mixed.

    Writing never stops the work: when the disk takes no more, the event is counted in `lost` and the work goes on. For
    the last word, `done` or `error`, a few kilobytes are kept in a file beside it, which is given up then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._progress_at = 0.0
        self._is_torn = False
        self._reserve: Path | None = path.with_name(RESERVE)
        with suppress(OSError):
            self._reserve.write_bytes(bytes(RESERVE_BYTES))
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        """A run that was killed can leave half a line; the next event must not be glued to it."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            self._append(b"\n")

    def _append(self, data: bytes) -> bytes:
        """Write a line; returns what of it the disk did not take."""
        data = b"\n" + data if self._is_torn else data
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            written = 0
        left = data[written:]
        self._is_torn = bool(left) and (self._is_torn or written > 0)
        self.lost += bool(left)
        return left

    def emit(self, event: Event) -> None:
        """Append an event; one that the disk does not take is counted in `lost`."""
        left = self._append(event.to_line())
        if left and isinstance(event, DoneEvent | ErrorEvent) and self._reserve is not None:
            self._reserve.unlink(missing_ok=True)
            self._is_torn, self.lost = False, self.lost - 1
            self._append(left)  # the rest of the line, from where it broke off

    def stage(self, name: str, detail: str = "") -> None:
        """Say that a part of the work begins."""
        self._progress_at = 0.0
        self.emit(StageEvent(name, detail))

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far that part is, at most five times a second, and always the first time and the last."""
        now = time.monotonic()
        if done >= total or now - self._progress_at >= PROGRESS_INTERVAL_S:
            self._progress_at = now
            self.emit(ProgressEvent(done, total, unit))

    def warning(self, message: str, hint: str = "") -> None:
        """Say what people should know, and what to do about it; the work goes on."""
        self.emit(WarningEvent(message, hint))

    def mute(self) -> None:
        """Write nothing from now on: of several processes that share a job, one speaks."""
        os.close(self._descriptor)
        self._reserve = None
        self._descriptor = os.open(os.devnull, os.O_RDWR)

    def close(self) -> None:
        """Close the file, and remove what was kept free for the last word."""
        os.close(self._descriptor)
        if self._reserve is not None:
            self._reserve.unlink(missing_ok=True)


def read_events(path: Path) -> Iterator[Event]:
    """Yield every whole event of the file; a torn line, as a kill leaves it, is passed over."""
    yield from EventReader(path)._new()


class EventReader:
    """Follows a growing file: each `poll` gives the whole events that were added since the last one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._cutter = Cutter()

    def poll(self) -> list[Event]:
        """Return the whole events that were added since the last call."""
        return list(self._new())

    def _new(self) -> Iterator[Event]:
        if not self.path.is_file():
            return
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return
        with file:
            file.seek(self._offset)
            while data := file.read(PIECE_BYTES):
                self._offset += len(data)
                for line in self._cutter.take(data):
                    if (event := Event.from_line(line)) is not None:
                        yield event
