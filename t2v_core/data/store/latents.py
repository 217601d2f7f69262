"""The latent store: what training reads. VAE latents and text embeddings of one split, joined by video id."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from sys import intern
from typing import Any, TypeVar

import torch
from torch import Tensor

from t2v_core.data.annotations.msrvtt import Split
from t2v_core.data.store.folder import FolderHere, ReadableShard, ShardFolder
from t2v_core.data.store.shard_set import Entry
from t2v_core.disk.files import MANIFEST
from t2v_core.disk.formats import SHARD_FORMAT, is_later, made_later
from t2v_core.disk.tensor_file import bytes_of
from t2v_core.models.text import TextEmbedding
from t2v_core.workspace import Dataset

Shape = tuple[int, ...]
NULL_PROMPT_FILE = "null_prompt.safetensors"
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Row:
    """What is kept of a manifest's clip: 100,000 whole entries, with all their captions, would take a gigabyte.

    bucket: that its latents are in, empty where all have one shape
    first, captions, truncated: of text, the clip's captions among the shard's, and which of them were cut off
    """

    video_id: str
    shard: str
    row: int
    first: int
    captions: int
    truncated: tuple[int, ...]
    bucket: str


class LatentStore:
    """Random access to a preprocessed split; positions go from 0 to `len(store) - 1`.

    video_ids: those that have both latents and captions, in the order of the annotation file
    shape: (frames, channels, height, width) of one clip's latents; in a set of several buckets, of most clips'
    shapes: how many clips have which, the same for all of a bucket
    null_prompt: the encoding of ""
    manifest, text_manifest: how they were made, without the clips; see `t2v_core.verbs.preprocess`
    """

    def __init__(self, latents: ShardFolder, text: ShardFolder, *, in_memory: bool = False) -> None:
        self.manifest, rows, self._latent_shards = _open_shards(latents)
        self.text_manifest, text_rows, self._text_shards = _open_shards(text)
        by_id = {row.video_id: row for row in text_rows}
        self._rows = [row for row in rows if row.video_id in by_id]
        self._text_rows = [by_id[row.video_id] for row in self._rows]
        self.video_ids: list[str] = [row.video_id for row in self._rows]
        if not self._rows:
            raise latents.not_preprocessed("no clip has both latents and captions")
        firsts = {row.bucket: row.shard for row in reversed(self._rows)}
        # Of one shard of each bucket: a shard may lie far away.
        self._shapes = {bucket: self._latent_shards[shard].shape("latents")[1:] for bucket, shard in firsts.items()}
        self.shapes = Counter(map(self.shape_of, range(len(self))))
        self.shape: Shape = self._usual_shape()
        self._dtype = self._latent_shards[self._rows[0].shard].dtype("latents")
        self._offsets: dict[str, Tensor] = {}
        self._kept_rows: frozenset[int] = frozenset()
        self._kept: dict[Hashable, Any] = {}
        self._memory = self._read_all() if in_memory else None
        self.null_prompt = _null_prompt(text)

    @classmethod
    def open(cls, dataset: Dataset, split: Split, *, in_memory: bool = False) -> LatentStore:
        """Open a split. Raises InvalidRequest when it is not, or not wholly, preprocessed.

        in_memory: hold all latents, in the dtype they are stored in; otherwise rows are read as they are asked for
        """
        folders = FolderHere(dataset.latents / split), FolderHere(dataset.text_embeddings / split)
        return cls(*folders, in_memory=in_memory)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """Return what `in_memory` takes."""
        return sum(count * prod(shape) for shape, count in self.shapes.items()) * self._dtype.itemsize

    def shape_of(self, index: int) -> Shape:
        """Return (frames, channels, height, width) of one clip's latents."""
        return self._shapes[self._rows[index].bucket]

    def _usual_shape(self) -> Shape:
        said = self.manifest.get("shape")
        if isinstance(said, list) and tuple(said) in self.shapes:
            return tuple(said)
        return max(self.shapes, key=lambda shape: (self.shapes[shape], prod(shape)))

    def by_shape(self, indices: Iterable[int]) -> list[list[int]]:
        """Return clips as one list for each shape that they have, in an order that is always the same."""
        found: dict[Shape, list[int]] = {}
        for index in indices:
            found.setdefault(self.shape_of(index), []).append(index)
        return [found[shape] for shape in sorted(found)]

    def keep(self, rows: Collection[int]) -> None:
        """Keep what is read of these clips in memory, as of those that are asked for again and again."""
        self._kept_rows = frozenset(rows)

    def shards_of(self, index: int) -> tuple[str, str]:
        """Return the names of the shards that a clip's latents and its captions lie in."""
        return self._rows[index].shard, self._text_rows[index].shard

    def by_shard(self, rows: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Return the places in `rows` of the clips whose latents lie in the same shard, by the shards' names."""
        found: dict[str, list[int]] = {}
        for at, row in enumerate(rows):
            found.setdefault(self._rows[row].shard, []).append(at)
        return tuple(tuple(found[name]) for name in sorted(found))

    def clip(self, index: int) -> Entry:
        """Return what is known of one clip: indices, source_fps, effective_fps, total_frames, …

        It is read from its shard.
        """
        row = self._rows[index]
        return self._once(index, "clip", lambda: self._latent_shards[row.shard].metadata["rows"][row.row])

    def latents(self, indices: Sequence[int]) -> Tensor:
        """Return (n, frames, channels, height, width) float32, normalised as `manifest["statistics"]` says.

        indices: of clips that have one shape
        """
        if self._memory is not None:
            return torch.stack([self._memory[index] for index in indices]).float()
        if self._kept_rows.issuperset(indices):
            return torch.cat([self._once(index, "latents", partial(self._read, [index])) for index in indices]).float()
        return self._read(indices).float()

    def texts(self, index: int) -> list[str]:
        """Return the captions of one clip, as written; read from its shard."""
        row = self._text_rows[index]
        rows = self._once(index, "texts", lambda: self._text_shards[row.shard].metadata["rows"][row.row]["captions"])
        return list(rows)

    def caption_count(self, index: int) -> int:
        """Return how many captions a clip has."""
        return self._text_rows[index].captions

    def caption(self, index: int, which: int) -> TextEmbedding:
        """Return one caption of a clip, encoded: float32, unpadded."""
        return self._once(index, which, lambda: self._caption(self._text_rows[index], which))

    def _caption(self, row: _Row, which: int) -> TextEmbedding:
        shard, number = self._text_shards[row.shard], row.first + which
        begin, end = self._offsets_of(row.shard)[number : number + 2].tolist()
        tokens, pooled = shard.read("tokens", begin, end), shard.read("pooled", number, number + 1)[0]
        return TextEmbedding(tokens.float(), pooled.float(), is_truncated=which in row.truncated)

    def captions(self, index: int) -> list[TextEmbedding]:
        """Return the captions of one clip, encoded: float32, unpadded, in the order of `texts`."""
        row = self._text_rows[index]
        cut = [position in row.truncated for position in range(row.captions)]
        return _embeddings(self._text_shards[row.shard], self._offsets_of(row.shard), row.first, cut)

    def _offsets_of(self, shard: str) -> Tensor:
        """Where each caption of a shard of text begins."""
        if shard not in self._offsets:
            self._offsets[shard] = self._text_shards[shard].read("offsets")
        return self._offsets[shard]

    def _once(self, index: int, what: Hashable, read: Callable[[], R]) -> R:
        """What `read` returns; of a clip that is kept it is read once."""
        if index not in self._kept_rows:
            return read()
        if (index, what) not in self._kept:
            self._kept[index, what] = read()
        kept: R = self._kept[index, what]
        return kept

    def _read_all(self) -> list[Tensor]:
        """Every clip's latents, each a view of all those of its shape."""
        whole: list[Tensor] = [torch.empty(0)] * len(self)
        for indices in self.by_shape(range(len(self))):
            for index, row in zip(indices, self._read(indices), strict=True):
                whole[index] = row
        return whole

    def _read(self, indices: Sequence[int]) -> Tensor:
        shape = self.shape_of(indices[0]) if indices else self.shape
        rows = torch.empty(len(indices), *shape, dtype=self._dtype)
        buffer, size = bytes_of(rows), prod(shape) * self._dtype.itemsize
        for position, index in enumerate(indices):
            row = self._rows[index]
            part = buffer[position * size : (position + 1) * size]
            self._latent_shards[row.shard].fill(part, "latents", row.row, 1)
        return rows


def _embeddings(shard: ReadableShard, offsets: Tensor, first: int, truncated: Sequence[bool]) -> list[TextEmbedding]:
    """As many captions from `first` on as `truncated` has; they lie side by side, so one read brings them all."""
    bounds: list[int] = offsets[first : first + len(truncated) + 1].tolist()
    tokens = shard.read("tokens", bounds[0], bounds[-1]).float()
    pooled = shard.read("pooled", first, first + len(truncated)).float()
    lengths = [end - begin for begin, end in pairwise(bounds)]
    parts = zip(torch.split(tokens, lengths), pooled, truncated, strict=True)
    return [TextEmbedding(part, whole, is_truncated=cut) for part, whole, cut in parts]


def _null_prompt(text: ShardFolder) -> TextEmbedding:
    shard = text.shard(NULL_PROMPT_FILE)
    return _embeddings(shard, shard.read("offsets"), 0, [False])[0]


def _open_shards(folder: ShardFolder) -> tuple[dict[str, Any], list[_Row], dict[str, ReadableShard]]:
    """A complete folder's manifest, its clips and its shards by name. Raises InvalidRequest for an incomplete one."""
    manifest = folder.manifest(_slim)
    rows = _require_readable(folder, manifest)
    names = {row.shard for row in rows}
    keeps_open = len(names) <= _spare_descriptors()
    return manifest, rows, {name: folder.shard(name, keeps_open=keeps_open) for name in names}


def _require_readable(folder: ShardFolder, manifest: dict[str, Any]) -> list[_Row]:
    """The clips that a manifest lists. Raises InvalidRequest for one of a later t2v, or that is none of a store."""
    settings, rows = manifest.get("settings", {}), manifest.pop("clips", None)
    version = settings.get("version") if isinstance(settings, dict) else None
    if is_later(version, SHARD_FORMAT):
        raise made_later(f"what is preprocessed in {folder}", version, SHARD_FORMAT)
    if not isinstance(rows, list) or not isinstance(settings, dict) or not all(isinstance(row, _Row) for row in rows):
        raise folder.not_preprocessed(f"{MANIFEST} lists no clips")
    return rows


def _slim(value: dict[str, Any]) -> Any:
    """A clip's entry as a `_Row`, on the way of parsing, so that the entries are never there all at once."""
    if "video_id" not in value or "shard" not in value:
        return value
    return _Row(
        value["video_id"],
        intern(value["shard"]),
        value["row"],
        value.get("first", 0),
        len(value.get("captions", ())),
        tuple(value.get("truncated", ())),
        intern(value.get("bucket", "")),
    )


def _spare_descriptors() -> int:
    """Files that one folder may hold open: two folders' worth leaves half of what the process may have at all."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else soft // 4
