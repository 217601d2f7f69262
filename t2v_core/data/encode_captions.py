"""Captions into a shard set of text embeddings: unpadded tokens side by side, pooled vectors beside them."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from t2v_core.data.encode_clips import DTYPES, report_changes
from t2v_core.data.latents import NULL_PROMPT_FILE
from t2v_core.data.msrvtt import Clip, Split
from t2v_core.data.shard_set import Entry, ShardSet
from t2v_core.data.shards import Shard, TornShard, write_shard
from t2v_core.errors import WorkFailed
from t2v_core.files import require_space
from t2v_core.job import Job
from t2v_core.models.encoders import PromptEncoder
from t2v_core.models.text import TextEmbedding
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

BATCH_CAPTIONS = 64
USUAL_TOKENS = 16  # of an MSR-VTT caption, with start and end; for the estimate of disk space


class CaptionEncoder:
    """Encodes one split's captions, every clip's whatever becomes of its video: they are joined by id when read."""

    def __init__(self, spec: PreprocessSpec, encoder: PromptEncoder, dataset: Dataset, split: Split, job: Job) -> None:
        self.spec, self.encoder, self.split, self.job = spec, encoder, split, job
        self.dtype = DTYPES[spec.dtype]
        settings = {"text_encoder": encoder.identity.sha256, "dtype": spec.dtype, "precision": spec.precision}
        self.shards = ShardSet(dataset.text_embeddings / split, settings)

    def run(self, clips: list[Clip]) -> int:
        """Encode what is not there yet and seal the set; returns how many captions were there already.

        Raises Stopped between batches, and WorkFailed when the disk will not hold it.
        """
        by_id = {clip.video_id: clip for clip in clips}
        stale = self.shards.keep(lambda e: e["video_id"] not in by_id or by_id[e["video_id"]].captions == e["captions"])
        report_changes(self.job, self.shards, f"text embeddings of {self.split}", stale)
        todo = [clip for clip in clips if clip.video_id not in self.shards.places]
        total, missing = (sum(len(clip.captions) for clip in some) for some in (clips, todo))
        size_bytes = missing * (USUAL_TOKENS * self.encoder.dim + self.encoder.pooled_dim) * self.dtype.itemsize
        require_space(self.shards.directory, size_bytes, f"text embeddings of {missing} captions")
        self.job.events.stage(f"text {self.split}", f"{missing} captions to encode, {total - missing} already there")
        done = total - missing
        for begin in range(0, len(todo), self.spec.shard_clips):
            done = self._make_shard(todo[begin : begin + self.spec.shard_clips], done, total)
        self._write_null_prompt()
        self.shards.seal(list(by_id), self._about(), extra_files=(NULL_PROMPT_FILE,))
        self._report_truncated(clips)
        return total - missing

    def _make_shard(self, clips: list[Clip], done: int, total: int) -> int:
        """Encode the captions of some clips, shortest first so that little is padded on the way, and write them."""
        captions = [caption for clip in clips for caption in clip.captions]
        order = sorted(range(len(captions)), key=lambda i: (len(captions[i]), i))
        embeddings: dict[int, TextEmbedding] = {}
        for begin in range(0, len(order), BATCH_CAPTIONS):
            self.job.check_stop()
            chosen = order[begin : begin + BATCH_CAPTIONS]
            embeddings |= zip(chosen, self.encoder.encode([captions[i] for i in chosen]), strict=True)
            done += len(chosen)
            self.job.events.progress(done, total, "captions")
        in_order = [embeddings[i] for i in range(len(captions))]
        self.shards.append(self._tensors(in_order), _entries(clips, in_order))
        return done

    def _tensors(self, embeddings: list[TextEmbedding]) -> dict[str, Tensor]:
        """tokens (sum of lengths, dim), offsets (captions + 1,) int64, pooled (captions, pooled_dim)."""
        tokens = torch.cat([embedding.tokens for embedding in embeddings]).to(self.dtype)
        pooled = torch.stack([embedding.pooled for embedding in embeddings]).to(self.dtype)
        if not (tokens.isfinite().all() and pooled.isfinite().all()):
            raise WorkFailed(
                f"the text encoder gives values that {self.spec.dtype} cannot hold",
                hint="--dtype fp32 --precision fp32",
            )
        offsets = torch.tensor(list(accumulate((len(e.tokens) for e in embeddings), initial=0)))
        return {"tokens": tokens, "offsets": offsets, "pooled": pooled}

    def _write_null_prompt(self) -> None:
        path = self.shards.directory / NULL_PROMPT_FILE
        metadata = {"settings": self.shards.settings}
        try:
            if Shard(path).metadata == metadata:
                return
        except TornShard:
            path.unlink(missing_ok=True)
        write_shard(path, self._tensors(self.encoder.encode([""])), metadata)

    def _about(self) -> dict[str, Any]:
        return {
            "format": "t2v-text-embeddings",
            "split": self.split,
            "encoder": {"source": self.spec.text_encoder, "sha256": self.encoder.identity.sha256},
            "max_length": self.encoder.max_length,
            "dim": self.encoder.dim,
            "pooled_dim": self.encoder.pooled_dim,
        }

    def _report_truncated(self, clips: list[Clip]) -> None:
        count = sum(len(self.shards.places[clip.video_id].entry["truncated"]) for clip in clips)
        if count:
            self.job.events.warning(
                f"{count} captions of {self.split} are longer than the {self.encoder.max_length} tokens that the text "
                "encoder reads; their ends are not seen"
            )


def _entries(clips: list[Clip], embeddings: list[TextEmbedding]) -> list[Entry]:
    """first: the clip's first caption among the shard's; truncated: which of the clip's captions were cut off."""
    entries, first = [], 0
    for clip in clips:
        own = embeddings[first : first + len(clip.captions)]
        truncated = [i for i, embedding in enumerate(own) if embedding.is_truncated]
        entries.append({"video_id": clip.video_id, "captions": clip.captions, "first": first, "truncated": truncated})
        first += len(clip.captions)
    return entries
