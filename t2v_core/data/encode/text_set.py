"""One split's text embeddings as a whole: what is there, what is to be made, and the null prompt beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from t2v_core.data.annotations.msrvtt import Annotations
from t2v_core.data.encode.encode_captions import stored_tensors, text_settings
from t2v_core.data.encode.encode_clips import DTYPES
from t2v_core.data.store.latents import NULL_PROMPT_FILE
from t2v_core.data.store.shard_plan import PlannedShard, SplitPlan
from t2v_core.data.store.shard_set import ShardSet, report_changes
from t2v_core.data.store.shards import Shard, TornShard, write_shard
from t2v_core.disk.files import require_space
from t2v_core.job import Job
from t2v_core.models.encoders import PromptEncoder
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

if TYPE_CHECKING:  # diffusers' families, which ours need not
    from t2v_core.models.open.encoders import OpenPromptEncoder

USUAL_TOKENS = 16  # of an MSR-VTT caption, with start and end; for the estimate of disk space


class TextSet:
    """Opening it removes what does not hold any more; of several processes the first one alone does so."""

    def __init__(
        self,
        spec: PreprocessSpec,
        encoder: PromptEncoder | OpenPromptEncoder,
        dataset: Dataset,
        part: Annotations,
        job: Job,
    ) -> None:
        self.spec, self.encoder, self.split, self.job = spec, encoder, part.split, job
        self.clips = {clip.video_id: clip for clip in part.clips}
        self.shards = ShardSet(dataset.text_embeddings / part.split, text_settings(spec, encoder))
        self._planned: list[PlannedShard] = []

    def plan(self) -> SplitPlan:
        """Plan the shards of the clips whose captions are not encoded yet, or have changed since.

        Raises WorkFailed when the disk will not hold it.
        """
        stale = self.shards.keep(
            lambda e: e["video_id"] not in self.clips or self.clips[e["video_id"]].captions == e["captions"]
        )
        report_changes(self.job, self.shards, f"text embeddings of {self.split}", stale)
        missing = self.clips.keys() - self.shards.places.keys()
        total, to_encode = self._captions(self.clips), self._captions(missing)
        size_bytes = to_encode * (USUAL_TOKENS * self.encoder.dim + self.encoder.pooled_dim)
        size_bytes *= DTYPES[self.spec.dtype].itemsize
        require_space(self.shards.directory, size_bytes, f"text embeddings of {to_encode} captions")
        self._planned = self.shards.plan(list(self.clips), missing, self.spec.shard_clips)
        ready = total - to_encode
        return SplitPlan(self._planned, self.shards.settings, ready=ready, done=ready, total=total)

    def seal(self) -> None:
        """Say which captions are whose, once every planned shard is written."""
        self.shards.adopt(self._planned)
        self.shards.require(self.clips)
        self._write_null_prompt()
        self.shards.seal(list(self.clips), self._about(), extra_files=(NULL_PROMPT_FILE,))
        self._report_truncated()

    def _captions(self, video_ids: Iterable[str]) -> int:
        return sum(len(self.clips[name].captions) for name in video_ids)

    def _write_null_prompt(self) -> None:
        path = self.shards.directory / NULL_PROMPT_FILE
        metadata = {"settings": self.shards.settings}
        try:
            if Shard(path).metadata == metadata:
                return
        except TornShard:
            path.unlink(missing_ok=True)
        write_shard(path, stored_tensors(self.encoder.encode([""]), self.spec.dtype), metadata)

    def _about(self) -> dict[str, Any]:
        return {
            "format": "t2v-text-embeddings",
            "split": self.split,
            "encoder": self.encoder.identity.as_dict(),
            "max_length": self.encoder.max_length,
            **({} if isinstance(self.encoder, PromptEncoder) else {"family": self.encoder.family}),
            **({} if isinstance(self.encoder, PromptEncoder) else {"family": self.encoder.family}),
            "dim": self.encoder.dim,
            "pooled_dim": self.encoder.pooled_dim,
        }

    def _report_truncated(self) -> None:
        count = sum(len(self.shards.places[name].entry["truncated"]) for name in self.clips)
        if count:
            self.job.events.warning(
                f"{count} captions of {self.split} are longer than the {self.encoder.max_length} tokens that the text "
                "encoder reads; their ends are not seen"
            )
