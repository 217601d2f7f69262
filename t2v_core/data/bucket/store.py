"""The store of a data set in a bucket: what fits into the cache here, and in what order it is read if not all does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from t2v_core.data.annotations.msrvtt import Split
from t2v_core.data.bucket.ahead import Ahead
from t2v_core.data.bucket.cache import BoundedCache, CachedFile
from t2v_core.data.bucket.folder import BucketFolder
from t2v_core.data.bucket.source import Source
from t2v_core.data.store.batches import BatchPlan
from t2v_core.data.store.folder import bytes_listed
from t2v_core.data.store.latents import LatentStore
from t2v_core.errors import InvalidRequest
from t2v_core.format import size


class BucketStore(LatentStore):
    """A split in a bucket. latents_bytes, text_bytes: of all its shards there"""

    def __init__(self, source: Source, split: Split, cache: BoundedCache, *, in_memory: bool = False) -> None:
        self.source, self.cache = source, cache
        self._folders = tuple(
            BucketFolder(source.at(f"{name}/{split}"), cache) for name in ("latents", "text_embeddings")
        )
        super().__init__(*self._folders, in_memory=in_memory)
        self.latents_bytes, self.text_bytes = (bytes_listed(one) for one in (self.manifest, self.text_manifest))

    @classmethod
    def at(cls, url: str, split: Split, cache: Path, limit_gb: float, *, in_memory: bool = False) -> BucketStore:
        """Open a split. Raises InvalidRequest, with what is missing: a package, credentials, or the data."""
        return cls(Source(url), split, BoundedCache(cache, int(limit_gb * 1e9)), in_memory=in_memory)

    @property
    def size_to_read_bytes(self) -> int:
        """Return the size of all that training reads of it."""
        return self.latents_bytes + self.text_bytes

    def files_of(self, rows: Sequence[int]) -> list[CachedFile]:
        """Return the shards that some clips lie in, latents before text, each once."""
        latents, text = self._folders
        names = [self.shards_of(row) for row in rows]
        return [latents.files[name] for name in dict.fromkeys(one for one, _ in names)] + [
            text.files[name] for name in dict.fromkeys(one for _, one in names)
        ]


def at_once_for(store: BucketStore, clips: Sequence[int]) -> int:
    """Return how many shards the cache lets be shuffled together so that each comes once an epoch; 0 when all fit.

    Half of the cache is for the shards that are read, the other half for those that come next. Raises InvalidRequest
    for a cache that does not hold two shards with their captions.
    """
    limit = store.cache.limit_bytes
    if store.size_to_read_bytes <= limit:
        return 0
    groups = store.by_shard(clips)
    largest = max(sum(file.size_bytes for file in store.files_of([clips[at] for at in group])) for group in groups)
    if limit < 2 * largest:
        raise InvalidRequest(
            f"a cache of {size(limit)} does not hold two shards of {store.source}, with their captions "
            f"{size(largest)} each",
            hint=f"--latents-cache-gb {2.1 * largest / 1e9:.2g} or more, or preprocess with a smaller --shard-clips",
        )
    return min(limit // (2 * largest), len(groups))


def ahead_of(store: BucketStore, plan: BatchPlan) -> Ahead:
    """Return what fetches the shards that training needs next."""
    plan = replace(plan, groups=plan.groups or store.by_shard(plan.clips))
    files = [store.files_of([plan.clips[at] for at in group]) for group in plan.groups]
    return Ahead(store.cache, plan, files)
