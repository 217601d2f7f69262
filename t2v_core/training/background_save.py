"""Checkpoints written beside training: the loop is held while state is copied, not while it is hashed and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.checkpoints.checkpoints import Checkpoint, save_checkpoint, size_bytes
from t2v_core.disk.tensor_file import bytes_of
from t2v_core.memory import free_memory_bytes

Files = Mapping[str, dict[str, Tensor]]

# The copy stays for the rest of the run, and the page cache wants room for the file as well.
MEMORY_SHARE = 0.5


class BackgroundSaver:
    """Writes one checkpoint at a time in a thread, out of copies in CPU memory.

    The copies take as much memory as the checkpoint has bytes (weights, averages and two moments: 16 bytes a
    parameter), and are kept, since fresh memory costs more to fill than used memory. When that is more than half of
    the memory that is free at the first save, or when the system does not say how much is free, there is no copy:
    `begin` then returns only after the checkpoint is written.
    """

    def __init__(self) -> None:
        self._copies: dict[str, dict[str, Tensor]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Checkpoint] | None = None

    def begin(
        self,
        path: Path,
        files: Files,
        info: dict[str, Any],
        *,
        then: Callable[[], object],
        header: Mapping[str, str] | None = None,
    ) -> None:
        """Take the tensors as they are now and begin to write them; they may change as soon as this returns.

        info: must not change any more
        then: called in the thread after the checkpoint is complete; header: as of `save_checkpoint`
        The one before must have been asked for with `result`.
        """
        if self._writing is not None:
            raise RuntimeError("the checkpoint before has not been asked for")
        copies = self._copied(files)

        def write() -> Checkpoint:
            checkpoint = save_checkpoint(path, copies, info, header=header)
            then()
            return checkpoint

        self._writing = self._thread.submit(write)
        if copies is files:
            self._writing.exception()

    def result(self, *, wait: bool) -> Checkpoint | None:
        """Return the checkpoint that `begin` was for, once: when it is complete, and None before that.

        Raises what writing it raised.
        """
        if self._writing is None or not (wait or self._writing.done()):
            return None
        writing, self._writing = self._writing, None
        return writing.result()

    def _copied(self, files: Files) -> Files:
        """The tensors in memory of our own, or as they are where that would be too much."""
        if not _same_layout(self._copies, files):
            self._copies = {}
            if size_bytes(files) > MEMORY_SHARE * free_memory_bytes():
                return files
            self._copies = {name: {key: _like(value) for key, value in own.items()} for name, own in files.items()}
        for name, tensors in files.items():
            for key, value in tensors.items():
                _copy(value.detach(), self._copies[name][key])
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        return self._copies


def _same_layout(copies: Files, files: Files) -> bool:
    """True when every tensor has a copy of its shape and type."""
    one, other = (
        {(name, key): (value.shape, value.dtype) for name, tensors in some.items() for key, value in tensors.items()}
        for some in (copies, files)
    )
    return one == other


def _like(tensor: Tensor) -> Tensor:
    """CPU memory for a copy; page-locked where that is what a GPU can write to by itself."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)


def _copy(tensor: Tensor, copy: Tensor) -> None:
    """From a GPU without waiting for it; within CPU memory by one thread.

    torch shares a copy among all threads, which wait for each other: 2.07 GB took 2.2 s on two busy cores, one thread
    0.46 s.
    """
    if tensor.device.type == "cpu" and tensor.numel():
        bytes_of(copy)[:] = bytes_of(tensor.contiguous())
    else:
        copy.copy_(tensor, non_blocking=True)
