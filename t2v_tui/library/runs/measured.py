"""What a training measured, read from its events as they grow: every figure that they hold, thinned."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2v_core.disk.plain_json import Cutter
from t2v_core.events.kinds import LATEST_T
from t2v_tui.library.runs.thinned import Line, Thinned

# Read in one go: JSON of it is parsed in 2 ms, in which nobody draws.
PIECE_BYTES = 128 * 1024
NO_FIGURES = frozenset({"t", "kind", "step", "total", "epoch"})
MOST_FIGURES = 64
MOST_CHECKPOINTS = 2000
# What no arithmetic of a chart survives.
LARGEST = 1e300
NUMBERS = {int, float}
# A step's number, and what else was measured in it.
_Step = tuple[float, Mapping[str, Any]]
# Python's own reader makes numbers of NaN and Infinity, which are none in JSON.
_DECODER = json.JSONDecoder(parse_constant=lambda _name: None)


@dataclass(frozen=True)
class Measured:
    """A run so far.

    lines:           by figure: loss, held_out_loss, learning_rate, grad_norm, samples_per_s, data_wait, gpu_…, …
    began_t:         of its first event, Unix seconds by its host's clock; 0 before that
    newest:          of each figure its newest value
    lowest:          of each figure the step of its lowest value and that
    steps_per_epoch: None until an epoch has ended
    checkpoints:     (step, Unix time, path) of each that was written
    """

    lines: Mapping[str, Line] = field(default_factory=dict)
    began_t: float = 0.0
    seen_t: float = 0.0
    step: int = 0
    total: int = 0
    epoch: int = 0
    steps_per_epoch: float | None = None
    newest: Mapping[str, float] = field(default_factory=dict)
    lowest: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    checkpoints: tuple[tuple[float, float, str], ...] = ()


class RunReader:
    """Reads the events of one run: each `read` goes on where the last one ended. A file that shrank is read anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._file: tuple[int, int] | None = None
        self._offset, self._cutter = 0, Cutter()
        self._steps, self._machine = Thinned(), Thinned(by_time=True)
        self._scores: dict[str, Thinned] = {}
        self._began_t = self._seen_t = 0.0
        self._step = self._total = self._epoch = 0
        self._steps_per_epoch: float | None = None
        self._newest: dict[str, float] = {}
        self._lowest: dict[str, tuple[float, float]] = {}
        self._checkpoints: list[tuple[float, float, str]] = []

    def read(self, most_bytes: int = 8 * PIECE_BYTES) -> bool:
        """Take in what was added, so much of it; tell whether anything was. A file that is not there adds nothing."""
        if self._is_as_it_was():
            return False
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            status = os.fstat(descriptor)
            identity = (status.st_dev, status.st_ino)
            if identity != self._file or status.st_size < self._offset:
                if self._file is not None:
                    self._begin()
                self._file = identity
            end = min(status.st_size, self._offset + most_bytes)
            has_read = self._offset < end
            while self._offset < end and (
                data := os.pread(descriptor, min(PIECE_BYTES, end - self._offset), self._offset)
            ):
                self._offset += len(data)
                self._take(self._cutter.take(data))
            return has_read
        finally:
            os.close(descriptor)

    def _is_as_it_was(self) -> bool:
        """Whether all of the file was read; then it need not be opened: a screen looks at every run again and again."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._file and status.st_size == self._offset

    @property
    def unread_bytes(self) -> int:
        """Return how much of the file has not been taken in."""
        try:
            return max(0, self.path.stat().st_size - self._offset)
        except OSError:
            return 0

    def measured(self) -> Measured:
        """Return what is known by now; reading on does not change it."""
        scores = {name: table.lines()[name] for name, table in self._scores.items()}
        return Measured(
            {**self._machine.lines(), **scores, **self._steps.lines()}, self._began_t, self._seen_t, self._step,
            self._total, self._epoch, self._steps_per_epoch, dict(self._newest), dict(self._lowest),
            tuple(self._checkpoints),
        )  # fmt: skip

    def _take(self, lines: Sequence[bytes]) -> None:
        steps: list[_Step] = []
        machine: list[Mapping[str, Any]] = []
        for said in _tables_in(lines):
            t, kind = said.get("t"), said.get("kind")
            if not isinstance(t, int | float) or not abs(t) < LATEST_T:
                continue
            self._began_t = self._began_t or t
            self._seen_t = t
            if kind == "step" and (step := _figure(said.get("step"))) is not None:
                steps.append((step, said))
            elif kind == "machine":
                machine.append(said)
            elif kind in ("score", "checkpoint"):
                self._take_steps(steps)
                steps = []
                (self._take_score if kind == "score" else self._take_checkpoint)(t, said)
        self._take_steps(steps)
        if machine:
            self._fold(self._machine, [float(self._step)] * len(machine), machine)

    def _take_steps(self, steps: Sequence[_Step]) -> None:
        if not steps:
            return
        self._find_epochs(steps)
        self._fold(self._steps, [float(step) for step, _ in steps], [said for _, said in steps])

    def _find_epochs(self, steps: Sequence[_Step]) -> None:
        """How many steps an epoch has, from the first step of a later one."""
        step, newest = steps[-1]
        self._step = int(step)
        self._total = int(_figure(newest.get("total")) or self._total)
        if newest.get("epoch") == self._epoch:
            return
        for step, said in steps:
            now = _figure(said.get("epoch"))
            if now is not None and now != self._epoch:
                if self._epoch and now > self._epoch and step > 1:
                    self._steps_per_epoch = (step - 1) / (now - 1)
                self._epoch = int(now)

    def _fold(self, table: Thinned, steps: Sequence[float], said: Sequence[Mapping[str, Any]]) -> None:
        names = dict.fromkeys(table.columns)
        for one in (said[0], said[-1]):
            names |= {
                name: None for name, value in one.items() if name not in NO_FIGURES and _figure(value) is not None
            }
        values = {name: _figures(name, said) for name in list(names)[:MOST_FIGURES]}
        table.extend(steps, [float(one["t"]) for one in said], values)
        for name, column in values.items():
            known = [value for value in column if value is not None]
            if known:
                self._newest[name] = known[-1]
                low = min(known)
                if name not in self._lowest or low < self._lowest[name][1]:
                    self._lowest[name] = (steps[column.index(low)], low)

    def _take_score(self, t: float, said: Mapping[str, Any]) -> None:
        name, value, step = said.get("name"), _figure(said.get("value")), _figure(said.get("step"))
        if not isinstance(name, str) or value is None or step is None:
            return
        if name not in self._scores and len(self._scores) >= MOST_FIGURES:
            return
        self._fold(self._scores.setdefault(name, Thinned()), [step], [{"t": t, name: value}])

    def _take_checkpoint(self, t: float, said: Mapping[str, Any]) -> None:
        path, step = said.get("path"), _figure(said.get("step"))
        if isinstance(path, str) and len(self._checkpoints) < MOST_CHECKPOINTS:
            self._checkpoints.append((float(self._step) if step is None else step, t, path))


def _tables_in(lines: Sequence[bytes]) -> Iterable[Mapping[str, Any]]:
    """The JSON objects that the lines are; whatever is none is passed over."""
    try:
        said = _DECODER.decode((b"[" + b",".join(lines) + b"]").decode())  # a third of the time of one call a line
    except (ValueError, RecursionError):
        said = [one for line in lines if (one := _table_in(line)) is not None]
    return [one for one in said if isinstance(one, dict)]


def _table_in(line: bytes) -> Any:
    try:
        return _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None


def _figure(value: Any) -> float | None:
    return value if type(value) in NUMBERS and -LARGEST < value < LARGEST else None


def _figures(name: str, said: Sequence[Mapping[str, Any]]) -> list[float | None]:
    values: list[Any] = [one.get(name) for one in said]
    if set(map(type, values)) <= NUMBERS and max(map(abs, values)) < LARGEST:
        return values
    return list(map(_figure, values))
