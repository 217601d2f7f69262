"""A folder of shards in a bucket, read as one here: a shard comes, and is checked, when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from t2v_core.data.bucket.cache import BoundedCache, CachedFile
from t2v_core.data.bucket.source import Source
from t2v_core.data.store.folder import Slim
from t2v_core.data.store.shards import Shard, TornShard
from t2v_core.disk.files import MANIFEST
from t2v_core.disk.plain_json import parsed
from t2v_core.errors import InvalidRequest, WorkFailed

# A shard that was there may make room for another process's before it is opened; so often in a row it is no chance.
ATTEMPTS = 5
R = TypeVar("R")


class BucketFolder:
    """Where the shards of one split's latents, or of its text embeddings, lie in a bucket.

    files: by name, once the manifest has been read
    """

    def __init__(self, source: Source, cache: BoundedCache) -> None:
        self.source, self.cache = source, cache
        self.files: dict[str, CachedFile] = {}

    def __str__(self) -> str:
        return str(self.source)

    def manifest(self, slim: Slim) -> dict[str, Any]:
        """Return the manifest as it stands there now."""
        text = self.source.read(MANIFEST)
        if text is None:
            raise self.not_preprocessed(f"no {MANIFEST}")
        try:
            manifest: dict[str, Any] = parsed(text, object_hook=slim)
            self.files = {name: self._file(name, entry) for name, entry in manifest["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self.not_preprocessed(f"{MANIFEST} cannot be read") from None
        return manifest

    def _file(self, name: str, entry: dict[str, Any]) -> CachedFile:
        digest, size_bytes = entry["sha256"], entry["size_bytes"]
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef") or type(size_bytes) is not int:
            raise ValueError(name)
        fetch = partial(self.source.fetch, name, size_bytes)
        return CachedFile(digest, size_bytes, f"{self.source}/{name}", fetch)

    def shard(self, name: str, *, keeps_open: bool = True) -> BucketShard:
        """Return a shard, which comes when something of it is read."""
        if name not in self.files:
            raise self.not_preprocessed(f"{MANIFEST} names no file {name}")
        return BucketShard(self.files[name], self.cache)

    def not_preprocessed(self, why: str) -> InvalidRequest:
        """Return the error."""
        return InvalidRequest(
            f"{self.source} holds nothing that was preprocessed: {why}",
            hint="t2v preprocess, and bring latents/ and text_embeddings/ there, each manifest.json last",
        )


class BucketShard:
    """A shard by what is in it; where it lies is the cache's affair, and changes."""

    def __init__(self, file: CachedFile, cache: BoundedCache) -> None:
        self.file, self._cache = file, cache
        self._known: Shard | None = None

    @property
    def metadata(self) -> dict[str, Any]:
        """Return what `write_shard` was given."""
        return self._with(lambda shard: shard.metadata)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first."""
        return self._with(lambda shard: shard.shape(name)) if self._known is None else self._known.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype a tensor is stored in."""
        return self._with(lambda shard: shard.dtype(name)) if self._known is None else self._known.dtype(name)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows `start` … `stop` of a tensor, as stored."""
        return self._with(lambda shard: shard.read(name, start, stop))

    def fill(self, buffer: memoryview, name: str, start: int, count: int) -> None:
        """Fill bytes with `count` rows from `start` on."""
        self._with(lambda shard: shard.fill(buffer, name, start, count))

    def _with(self, use: Callable[[Shard], R]) -> R:
        for _ in range(ATTEMPTS):
            path = self._cache.path_of(self.file)
            try:
                self._known = self._known or Shard(path, keeps_open=False)
                return use(self._known)
            except FileNotFoundError:
                continue
            except TornShard as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise WorkFailed(f"{self.file.where} is not a shard: {error}", "preprocess it again") from error
        raise WorkFailed(
            f"{self.file.where} made room for others {ATTEMPTS} times before it could be read",
            hint="a larger --latents-cache-gb: processes that share it each need shards of their own",
        )
