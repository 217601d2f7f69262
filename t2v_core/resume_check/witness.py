"""Inside a training process: write down what the model sees, and die by SIGKILL at a chosen point.

Training itself knows nothing of this. The points are found from outside it: PyTorch calls a hook before each forward
pass, Python's audit events tell of each file that is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from t2v_core.checkpoints.checkpoints import latest_checkpoint
from t2v_core.disk.files import STAGING
from t2v_core.disk.tensor_file import bytes_of
from t2v_core.job import SAVE_FILE
from t2v_core.models.denoisers.denoiser import Denoiser
from t2v_core.resume_check.kill_point import KillPoint, witness_file

POLL_S, PATIENCE_S = 0.02, 30.0


def install(directory: Path, rank: int, point: KillPoint | None) -> None:
    """Make this process bear witness from now on, and die at `point`."""
    register_module_forward_pre_hook(_Witness(directory, rank, point or KillPoint()))
    if point is not None and point.checkpoint is not None and rank == 0:
        _die_while_writing(point.file, point.checkpoint)


class _Witness:
    """Called by PyTorch before each forward pass of each module."""

    def __init__(self, directory: Path, rank: int, point: KillPoint) -> None:
        self._directory, self._point, self._count = directory, point, 0
        self._parent = os.getppid()
        spec = json.loads((directory / "spec.json").read_text())
        self._checkpoints = directory.parents[1] / spec["checkpoints"]
        self._log = os.open(witness_file(directory, rank), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not isinstance(module, Denoiser) or not torch.is_grad_enabled():  # the held-out loss takes no gradients
            return
        self._end_if_alone()
        if self._count == self._point.save_at:
            (self._directory / SAVE_FILE).touch()
        if self._count == self._point.forward and self._waits_for(self._point.saved_step):
            os.kill(os.getpid(), signal.SIGKILL)
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        digest = hashlib.sha256()
        for tensor in tensors:
            digest.update(bytes_of(tensor.detach().cpu().contiguous()))
        line = json.dumps({"device": tensors[0].device.type, "sha256": digest.hexdigest()})
        os.write(self._log, line.encode() + b"\n")
        self._count += 1

    def _end_if_alone(self) -> None:
        if os.getppid() != self._parent:  # whoever started this is gone, and nobody will look
            os._exit(1)

    def _waits_for(self, step: int) -> bool:
        """True once a complete checkpoint of that step is there; False when none is written: training will say why."""
        written = time.monotonic()
        while time.monotonic() - written < PATIENCE_S:
            self._end_if_alone()
            checkpoint = latest_checkpoint(self._checkpoints)
            if checkpoint is not None and checkpoint.step >= step:
                return True
            if any(self._checkpoints.glob(f"{STAGING}*")):
                written = time.monotonic()
            time.sleep(POLL_S)
        return False


def _die_while_writing(name: str, number: int) -> None:
    """End this process as the file is opened under a staging name for the `number`th time, in whichever thread."""
    left = number

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event != "open" or not isinstance(arguments[0], str | os.PathLike):
            return
        path, flags = Path(os.fspath(arguments[0])), arguments[2]
        if path.name == name and path.parent.name.startswith(STAGING) and flags & (os.O_WRONLY | os.O_RDWR):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heard)
