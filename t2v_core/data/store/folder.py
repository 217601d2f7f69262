"""Where shards are read from: a folder of this machine, or one that only looks like it (`data/bucket`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from t2v_core.data.store.shards import Shard, TornShard
from t2v_core.disk.files import Incomplete, complete_manifest
from t2v_core.errors import InvalidRequest

Slim = Callable[[dict[str, Any]], Any]


class ReadableShard(Protocol):
    """What reading needs of a shard; `Shard` says what each does."""

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what `write_shard` was given."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first."""

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype a tensor is stored in."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows `start` … `stop` of a tensor, as stored."""

    def fill(self, buffer: memoryview, name: str, start: int, count: int) -> None:
        """Fill bytes with `count` rows from `start` on."""


class ShardFolder(Protocol):
    """One split's latents, or its text embeddings."""

    def manifest(self, slim: Slim) -> dict[str, Any]:
        """Return the manifest, each JSON object of it as `slim` returns it. Raises InvalidRequest for none."""

    def shard(self, name: str, *, keeps_open: bool = True) -> ReadableShard:
        """Return a shard by its file name. Raises InvalidRequest for one that is not whole."""

    def not_preprocessed(self, why: str) -> InvalidRequest:
        """Return the error of a folder that training cannot read yet."""


class FolderHere:
    """A folder of this machine. path: with `manifest.json` and its shards"""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def manifest(self, slim: Slim) -> dict[str, Any]:
        """Return the manifest; all files that it names must be there in their sizes."""
        try:
            return complete_manifest(self.path, object_hook=slim)
        except Incomplete as why:
            raise self.not_preprocessed(str(why)) from None

    def shard(self, name: str, *, keeps_open: bool = True) -> Shard:
        """Open a shard."""
        try:
            return Shard(self.path / name, keeps_open=keeps_open)
        except TornShard as error:
            raise self.not_preprocessed(str(error)) from error

    def not_preprocessed(self, why: str) -> InvalidRequest:
        """Return the error."""
        return InvalidRequest(f"{self.path} is not preprocessed yet: {why}", hint="t2v preprocess")


def bytes_listed(manifest: Mapping[str, Any]) -> int:
    """Add up the sizes of the files that a manifest lists."""
    return sum(entry["size_bytes"] for entry in manifest["files"].values())
