"""Where a training process is to die, and where it writes down what its model saw."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class KillPoint:
    """Where a training process ends. Forward passes are those of training, counted from 0 since the process began.

    forward: the pass that is not made any more
    saved_step: with `forward`, the step of which a checkpoint is complete by then; a slow disk is waited for
    save_at: the pass before which a checkpoint is asked for, as a `save` file asks
    checkpoint, file: as this file of the nth checkpoint (from 1) is opened to be written
    """

    forward: int | None = None
    saved_step: int = 0
    save_at: int | None = None
    checkpoint: int | None = None
    file: str = ""


def witness_file(directory: Path, rank: int) -> Path:
    """Return where the process of that rank writes down what its model saw."""
    return directory / f"witness-{rank}.jsonl"


def seen(directory: Path, rank: int) -> list[dict[str, Any]]:
    """Return what that process's model saw, a forward pass an entry: `device`, and `sha256` over all its inputs."""
    lines = witness_file(directory, rank).read_text().splitlines()
    return [json.loads(line) for line in lines]
