"""Shards written in the background, so that the next one is read while the disk takes the last."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from t2v_core.data.store.shards import write_shard


class ShardWriter:
    """Writes one shard at a time, in the order given. On leaving, the last one is whole.

    checksums: sha256 in hex by file name, of what is written
    """

    def __init__(self) -> None:
        self.checksums: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._writing: Future[None] | None = None

    def write(self, path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        """Begin to write a shard, once the one before it is whole. Raises what that one met."""
        self._finish()
        self._writing = self._thread.submit(self._write, path, tensors, metadata)

    def _write(self, path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
        self.checksums[path.name] = write_shard(path, tensors, metadata)

    def _finish(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the last shard. Raises what it met, unless something else went wrong before."""
        self._thread.shutdown()
        if error is None:
            self._finish()
