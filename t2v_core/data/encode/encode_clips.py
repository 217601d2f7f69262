"""Clips into a shard set of VAE latents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from t2v_core.data.annotations.msrvtt import Annotations, Clip
from t2v_core.data.store.ahead import ReadyClip, decode_ahead
from t2v_core.data.store.begun_shard import BegunShard
from t2v_core.data.store.buckets import Bucket, read_buckets
from t2v_core.data.store.shared_shards import SharedShards
from t2v_core.data.video.decode import UnreadableClip
from t2v_core.data.video.frame_rule import frame_rule
from t2v_core.data.video.resize import RESIZE_RULE
from t2v_core.errors import EngineError, WorkFailed
from t2v_core.models.encoders import VideoAutoencoder
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

if TYPE_CHECKING:  # diffusers' families, which ours need not
    from t2v_core.models.open.encoders import OpenVae

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
NON_FINITE = "non-finite-latents"


def clip_size(spec: PreprocessSpec, vae: VideoAutoencoder | OpenVae) -> tuple[int, int]:
    """Return (height, width) of the frames that are encoded, in pixels."""
    if isinstance(vae, VideoAutoencoder):
        side = spec.size or vae.default_size
        return side, side
    rows, columns = vae.model.usual.size
    return spec.height or spec.size or rows, spec.width or spec.size or columns


def clip_buckets(spec: PreprocessSpec, vae: VideoAutoencoder | OpenVae) -> dict[str, Bucket]:
    """Return the buckets that clips go into, by name; one without a name where all have one size and length."""
    if spec.buckets is None:
        return {"": Bucket(spec.frames, *clip_size(spec, vae))}
    return {bucket.name: bucket for bucket in read_buckets(spec.buckets)}


def latent_settings(spec: PreprocessSpec, vae: VideoAutoencoder | OpenVae) -> dict[str, Any]:
    """Return everything that changes a latent's value; another value of any of them means encoding again."""
    height, width = clip_size(spec, vae)
    side = height if height == width else f"{width}×{height}"
    return {
        "vae": vae.identity.sha256,
        "posterior": "mode",
        **({"frames": spec.frames, "size": side} if spec.buckets is None else {"buckets": spec.buckets}),
        "frame_rule": frame_rule(spec.stride),
        "resize": RESIZE_RULE,
        "dtype": spec.dtype,
        "precision": spec.precision,
    }


class ClipEncoder:
    """Encodes one split's clips, shard by shard, in each process of the run.

    What goes through the VAE together depends on a shard's clips alone, not on interruptions.
    """

    unit = "clips"

    def __init__(
        self, spec: PreprocessSpec, vae: VideoAutoencoder | OpenVae, dataset: Dataset, part: Annotations
    ) -> None:
        self.spec, self.vae = spec, vae
        self.name = f"latents {part.split}"
        self.clips = {clip.video_id: clip for clip in part.clips}
        self.directory = dataset.latents / part.split
        self.buckets = clip_buckets(spec, vae)

    def encode(self, work: SharedShards) -> None:
        """Make the shards that fall to this process.

        Raises Stopped between clips, and WorkFailed; what is encoded by then is kept.
        """
        begun: deque[BegunShard] = deque()
        ahead = decode_ahead(
            self._remaining_clips(work, begun),
            largest=max(self.buckets.values(), key=lambda one: one.frames * one.height * one.width),
            stride=self.spec.stride,
            ahead=2 * max(map(self._batch_clips, self.buckets.values())),
            processes=work.group.local_size,
        )
        try:
            with ahead as decoded:
                for clip, result in decoded:
                    work.group.check_stop()
                    self._take_in(clip, result, begun[0], work)
                    work.advance(1)
                    if begun[0].is_whole:
                        _land(begun.popleft(), work)
        except EngineError:
            if begun:
                with suppress(EngineError):  # a disk that is full takes no more
                    begun[0].keep()
            raise

    def _batch_clips(self, bucket: Bucket) -> int:
        return max(1, self.spec.batch_frames // bucket.frames)

    def _remaining_clips(self, work: SharedShards, begun: deque[BegunShard]) -> Iterator[tuple[Clip, Bucket]]:
        """Clips to decode; the next shard is taken as soon as the decoder has got so far."""
        for planned in work.take():
            shard = BegunShard(self.directory, work.plan.settings, planned, self.clips)
            work.advance(len(shard))
            if shard.is_whole:
                _land(shard, work)
            else:
                begun.append(shard)
                yield from ((clip, self.buckets[shard.bucket]) for clip in shard.remaining)

    def _take_in(self, clip: Clip, result: ReadyClip | UnreadableClip, shard: BegunShard, work: SharedShards) -> None:
        shard.decoded()
        if isinstance(result, ReadyClip):
            shard.waiting.append(result)
        else:
            work.report({"video_id": clip.video_id, "reason": result.reason, "detail": result.detail})
        most = self._batch_clips(self.buckets[shard.bucket])
        if shard.waiting and (len(shard.waiting) == most or shard.is_whole):
            self._encode_batch(shard, work)

    def _encode_batch(self, shard: BegunShard, work: SharedShards) -> None:
        frames = torch.cat([ready.frames for ready in shard.waiting])
        try:
            latents = self.vae.encode_clips(frames, clips=len(shard.waiting), batch_frames=self.spec.batch_frames)
        except torch.OutOfMemoryError as error:
            height, width = self.buckets[shard.bucket].size
            fewer = f"--batch-frames {max(1, self.spec.batch_frames // 2)}"
            raise WorkFailed(
                f"{self.spec.batch_frames} frames of {width} × {height} do not fit into the GPU's memory",
                hint=fewer if isinstance(self.vae, VideoAutoencoder) else "--vae-tiling yes, or fewer --frames",
            ) from error
        for ready, row in zip(shard.waiting, latents.to(DTYPES[self.spec.dtype]), strict=True):
            if row.isfinite().all():
                shard.add(row, ready.entry)
            else:
                what = f"the VAE gives values that {self.spec.dtype} cannot hold"
                work.report({"video_id": ready.entry["video_id"], "reason": NON_FINITE, "detail": what})
        shard.waiting = []


def _land(shard: BegunShard, work: SharedShards) -> None:
    shard.land()
    work.finish()
