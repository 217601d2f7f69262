"""TensorBoard beside the events, and another tracker where one is asked for: `tensorboard --logdir jobs`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard.writer import SummaryWriter

from t2v_core.disk.files import describe_os_error
from t2v_core.training.trackers.other_tracker import OtherTracker


class Tracker:
    """Writes numbers as scalars; the folder appears with the first one. other: told the same, where one is asked for"""

    def __init__(self, folder: Path, other: OtherTracker | None = None) -> None:
        self.folder, self._other = folder, other
        self._writer: SummaryWriter | None = None

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Begin with the settings of a training. Raises InvalidRequest where the other tracker takes no run."""
        if self._other is not None:
            self._other.begin(settings)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Record what is known after optimiser step number `step`. Raises EngineError, as for a full disk."""
        figures = {name: value for name, value in values.items() if name not in ("step", "total")}
        if self._other is not None:
            self._other.step(step, figures)
        try:
            if self._writer is None:
                threading.excepthook = _all_but_a_full_disk
                self._writer = SummaryWriter(str(self.folder))
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)
        except OSError as error:
            raise describe_os_error(error, self.folder) from error

    def close(self) -> None:
        """Close TensorBoard's file, and end the other's run. Raises EngineError, as for a full disk."""
        if self._other is not None:
            self._other.close()
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError as error:
            raise describe_os_error(error, self.folder) from error


def _all_but_a_full_disk(said: threading.ExceptHookArgs) -> None:
    """What TensorBoard's own thread meets on the disk is raised again where it is flushed, and said there."""
    is_its = type(said.thread).__name__ == "_AsyncWriterThread"
    if not (is_its and isinstance(said.exc_value, OSError)):
        threading.__excepthook__(said)
