"""The latent store: what training reads. VAE latents and text embeddings of one split, joined by video id."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.data.msrvtt import Split
from t2v_core.data.shard_set import Entry, read_manifest
from t2v_core.data.shards import Shard, TornShard
from t2v_core.errors import AskedWrongly
from t2v_core.files import incompleteness
from t2v_core.models.text import TextEmbedding
from t2v_core.workspace import Dataset

NULL_PROMPT_FILE = "null_prompt.safetensors"


class LatentStore:
    """Random access to a preprocessed split; positions go from 0 to `len(store) - 1`.

    video_ids: those that have both latents and captions, in the order of the annotation file
    shape: (frames, channels, height, width) of one clip's latents
    null_prompt: the encoding of ""
    manifest, text_manifest: how they were made; see `t2v_core.preprocess`
    """

    def __init__(self, latents: Path, text: Path, *, in_memory: bool = False) -> None:
        self.manifest, self._latent_shards = _open_shards(latents)
        self.text_manifest, self._text_shards = _open_shards(text)
        by_id: dict[str, Entry] = {entry["video_id"]: entry for entry in self.text_manifest["clips"]}
        self._rows: list[Entry] = [entry for entry in self.manifest["clips"] if entry["video_id"] in by_id]
        self._text_rows = [by_id[entry["video_id"]] for entry in self._rows]
        self.video_ids: list[str] = [entry["video_id"] for entry in self._rows]
        if not self._rows:
            raise _not_preprocessed(latents, "no clip has both latents and captions")
        first = self._latent_shards[self._rows[0]["shard"]]
        self.shape: tuple[int, ...] = first.shape("latents")[1:]
        self._dtype = first.dtype("latents")
        self._offsets = {name: shard.read("offsets").tolist() for name, shard in self._text_shards.items()}
        self._memory = self._read(range(len(self))) if in_memory else None
        self.null_prompt = _null_prompt(text)

    @classmethod
    def open(cls, dataset: Dataset, split: Split, *, in_memory: bool = False) -> LatentStore:
        """Open a split. Raises AskedWrongly when it is not, or not wholly, preprocessed.

        in_memory: hold all latents, in the dtype they are stored in; otherwise rows are read as they are asked for
        """
        return cls(dataset.latents / split, dataset.text_embeddings / split, in_memory=in_memory)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        """What `in_memory` takes."""
        return len(self) * prod(self.shape) * self._dtype.itemsize

    def clip(self, index: int) -> Entry:
        """What the manifest says of one clip: indices, source_fps, effective_fps, total_frames, …"""
        return self._rows[index]

    def latents(self, indices: Sequence[int]) -> Tensor:
        """(n, frames, channels, height, width) float32, normalised as `manifest["statistics"]` says."""
        rows = self._memory[list(indices)] if self._memory is not None else self._read(indices)
        return rows.float()

    def texts(self, index: int) -> list[str]:
        """The captions of one clip, as written."""
        return list(self._text_rows[index]["captions"])

    def captions(self, index: int) -> list[TextEmbedding]:
        """The captions of one clip, encoded: float32, unpadded, in the order of `texts`."""
        row = self._text_rows[index]
        shard, offsets = self._text_shards[row["shard"]], self._offsets[row["shard"]]
        cut = [position in row["truncated"] for position in range(len(row["captions"]))]
        return _embeddings(shard, offsets, row["first"], cut)

    def _read(self, indices: Sequence[int]) -> Tensor:
        rows = torch.empty(len(indices), *self.shape, dtype=self._dtype)
        for position, index in enumerate(indices):
            row = self._rows[index]
            self._latent_shards[row["shard"]].read_into(rows[position : position + 1], "latents", row["row"])
        return rows


def _embeddings(shard: Shard, offsets: Sequence[int], first: int, truncated: Sequence[bool]) -> list[TextEmbedding]:
    """As many captions from `first` on as `truncated` has; they lie side by side, so one read brings them all."""
    bounds = offsets[first : first + len(truncated) + 1]
    tokens = shard.read("tokens", bounds[0], bounds[-1]).float()
    pooled = shard.read("pooled", first, first + len(truncated)).float()
    lengths = [end - begin for begin, end in pairwise(bounds)]
    parts = zip(torch.split(tokens, lengths), pooled, truncated, strict=True)
    return [TextEmbedding(part, whole, is_truncated=cut) for part, whole, cut in parts]


def _null_prompt(text: Path) -> TextEmbedding:
    shard = _open_shard(text / NULL_PROMPT_FILE)
    return _embeddings(shard, shard.read("offsets").tolist(), 0, [False])[0]


def _open_shards(directory: Path) -> tuple[dict[str, Any], dict[str, Shard]]:
    """The manifest of a complete folder and its shards by name. Raises AskedWrongly for an incomplete one."""
    if why := incompleteness(directory):
        raise _not_preprocessed(directory, why)
    manifest = read_manifest(directory)
    return manifest, {name: _open_shard(directory / name) for name in {e["shard"] for e in manifest["clips"]}}


def _open_shard(path: Path) -> Shard:
    try:
        return Shard(path)
    except TornShard as error:
        raise _not_preprocessed(path.parent, str(error)) from error


def _not_preprocessed(directory: Path, why: str) -> AskedWrongly:
    return AskedWrongly(f"{directory} is not preprocessed yet: {why}", hint="t2v preprocess")
