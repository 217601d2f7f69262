"""Captions into a shard set of text embeddings: unpadded tokens side by side, pooled vectors beside them."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from t2v_core.data.annotations.msrvtt import Annotations, Clip
from t2v_core.data.encode.encode_clips import DTYPES
from t2v_core.data.store.shard_set import Entry
from t2v_core.data.store.shards import write_shard
from t2v_core.data.store.shared_shards import SharedShards
from t2v_core.errors import WorkFailed
from t2v_core.models.encoders import PromptEncoder
from t2v_core.models.text import TextEmbedding
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

if TYPE_CHECKING:  # diffusers' families, which ours need not
    from t2v_core.models.open.encoders import OpenPromptEncoder

BATCH_CAPTIONS = 64


class CaptionEncoder:
    """Encodes one split's captions, shard by shard, in each process of the run.

    Every clip's are, whatever becomes of its video: they are joined by id when read.
    """

    unit = "captions"

    def __init__(
        self, spec: PreprocessSpec, encoder: PromptEncoder | OpenPromptEncoder, dataset: Dataset, part: Annotations
    ) -> None:
        self.encoder, self.dtype = encoder, spec.dtype
        self.name = f"text {part.split}"
        self.clips = {clip.video_id: clip for clip in part.clips}
        self.directory = dataset.text_embeddings / part.split

    def encode(self, work: SharedShards) -> None:
        """Make the shards that fall to this process. Raises Stopped between batches, WorkFailed on a full disk."""
        for planned in work.take():
            clips = [self.clips[name] for name in planned.video_ids]
            in_order = self._embeddings([caption for clip in clips for caption in clip.captions], work)
            metadata = {"settings": work.plan.settings, "rows": _entries(clips, in_order)}
            write_shard(self.directory / planned.name, stored_tensors(in_order, self.dtype), metadata)
            work.finish()

    def _embeddings(self, captions: list[str], work: SharedShards) -> list[TextEmbedding]:
        """Of each caption; they go through shortest first, so that little is padded on the way."""
        order = sorted(range(len(captions)), key=lambda i: (len(captions[i]), i))
        embeddings: dict[int, TextEmbedding] = {}
        for begin in range(0, len(order), BATCH_CAPTIONS):
            work.group.check_stop()
            chosen = order[begin : begin + BATCH_CAPTIONS]
            embeddings |= zip(chosen, self.encoder.encode([captions[i] for i in chosen]), strict=True)
            work.advance(len(chosen))
        return [embeddings[i] for i in range(len(captions))]


def text_settings(spec: PreprocessSpec, encoder: PromptEncoder | OpenPromptEncoder) -> dict[str, Any]:
    """Return everything that changes an embedding's value."""
    return {"text_encoder": encoder.identity.sha256, "dtype": spec.dtype, "precision": spec.precision}


def stored_tensors(embeddings: list[TextEmbedding], dtype: str) -> dict[str, Tensor]:
    """Pack embeddings: tokens (sum of lengths, dim), offsets (captions + 1,) int64, pooled (captions, pooled_dim).

    Raises WorkFailed when `dtype` cannot hold a value.
    """
    tokens = torch.cat([embedding.tokens for embedding in embeddings]).to(DTYPES[dtype])
    pooled = torch.stack([embedding.pooled for embedding in embeddings]).to(DTYPES[dtype])
    if not (tokens.isfinite().all() and pooled.isfinite().all()):
        raise WorkFailed(
            f"the text encoder gives values that {dtype} cannot hold", hint="--dtype fp32 --precision fp32"
        )
    offsets = torch.tensor(list(accumulate((len(e.tokens) for e in embeddings), initial=0)))
    return {"tokens": tokens, "offsets": offsets, "pooled": pooled}


def _entries(clips: list[Clip], embeddings: list[TextEmbedding]) -> list[Entry]:
    """first: the clip's first caption among the shard's; truncated: which of the clip's captions were cut off."""
    entries, first = [], 0
    for clip in clips:
        own = embeddings[first : first + len(clip.captions)]
        truncated = [i for i, embedding in enumerate(own) if embedding.is_truncated]
        entries.append({"video_id": clip.video_id, "captions": clip.captions, "first": first, "truncated": truncated})
        first += len(clip.captions)
    return entries
