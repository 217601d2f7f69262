"""How many bytes computing takes, counted on tensors that have shapes and no data."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# glibc gives blocks of less than 32 MiB from a heap and keeps the gaps between them.
HEAP_BLOCK_BYTES = 32 << 20
# What a process leaves on a GPU beside its tensors: the context and the libraries' workspaces, about.
CUDA_CONTEXT_BYTES = 700_000_000


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of every storage that operations make, from when it is made until nobody holds it.

    known: tensors that were there before and do not count
    peak: the most at any time; small_at_peak: of these, in storages that a heap would give
    """

    def __init__(self, known: Iterable[Tensor | None] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.small_at_peak = 0
        self._alive = self._alive_small = 0
        self._sizes = {tensor.untyped_storage()._cdata: 0 for tensor in known if tensor is not None}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:  # a view of another tensor has that one's storage
            self._sizes[key] = storage.nbytes()
            self._count(self._sizes[key])
            if self._alive > self.peak:
                self.peak, self.small_at_peak = self._alive, self._alive_small
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._count(-self._sizes.pop(key, 0))

    def _count(self, change: int) -> None:
        self._alive += change
        self._alive_small += change if abs(change) < HEAP_BLOCK_BYTES else 0
