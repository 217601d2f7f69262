"""TensorBoard beside the events, for those who have it open anyway: `tensorboard --logdir jobs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter


class Tracker:
    """Writes numbers as scalars; the folder appears with the first one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Record what is known after optimiser step number `step`."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self.folder))
        for name, value in values.items():
            if name not in ("step", "total"):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
