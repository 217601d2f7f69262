"""Clips into a shard set of VAE latents."""

from __future__ import annotations

from statistics import median
from typing import Any

import torch
from torch import Tensor

from t2v_core.data.ahead import ReadyClip, decode_ahead, is_same_source
from t2v_core.data.decode import FRAME_RULE
from t2v_core.data.msrvtt import Clip, Split
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.resize import RESIZE_RULE
from t2v_core.data.shard_set import Entry, ShardSet
from t2v_core.errors import Stopped, WorkFailed
from t2v_core.files import MANIFEST, require_space
from t2v_core.job import Job
from t2v_core.models.encoders import VideoAutoencoder
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset

DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
NON_FINITE = "non-finite-latents"


def latent_settings(spec: PreprocessSpec, vae: VideoAutoencoder) -> dict[str, Any]:
    """Everything that changes a latent's value; another value of any of them means encoding again."""
    return {
        "vae": vae.identity.sha256,
        "posterior": "mode",
        "frames": spec.frames,
        "frame_rule": FRAME_RULE,
        "size": spec.size or vae.default_size,
        "resize": RESIZE_RULE,
        "dtype": spec.dtype,
        "precision": spec.precision,
    }


class ClipEncoder:
    """Encodes one split. What goes through the VAE together depends on the clips alone, not on interruptions."""

    def __init__(
        self,
        spec: PreprocessSpec,
        vae: VideoAutoencoder,
        dataset: Dataset,
        split: Split,
        *,
        quarantine: Quarantine,
        job: Job,
    ) -> None:
        self.spec, self.vae, self.split, self.quarantine, self.job = spec, vae, split, quarantine, job
        self.size = spec.size or vae.default_size
        self.shards = ShardSet(dataset.latents / split, latent_settings(spec, vae))
        self._batch: list[tuple[Clip, ReadyClip]] = []
        self._rows: list[Tensor] = []
        self._entries: list[Entry] = []

    def run(self, clips: list[Clip]) -> int:
        """Encode the clips that are not in whole shards yet and seal the set; returns how many were there already.

        Raises Stopped between clips (what is encoded by then is kept) and WorkFailed when the disk will not hold it.
        """
        by_id = {clip.video_id: clip for clip in clips}
        stale = self.shards.keep(lambda e: e["video_id"] not in by_id or is_same_source(by_id[e["video_id"]], e))
        report_changes(self.job, self.shards, f"latents of {self.split}", stale)
        ready = sum(clip.video_id in self.shards.places for clip in clips)
        todo = [c for c in clips if c.video_id not in self.shards.places and not self._is_known_bad(c)]
        require_space(self.shards.directory, len(todo) * self._clip_bytes(), f"latents of {len(todo)} clips")
        self.job.events.stage(f"latents {self.split}", f"{len(todo)} clips to encode, {ready} already there")
        try:
            self._encode_all(todo, done=len(clips) - len(todo), total=len(clips))
        except Stopped:
            self._land()
            raise
        wanted = [clip.video_id for clip in clips]
        if any(name in self.shards.places for name in wanted):
            self.shards.seal(wanted, self._about(wanted))
        else:
            (self.shards.directory / MANIFEST).unlink(missing_ok=True)
        return ready

    def _encode_all(self, todo: list[Clip], done: int, total: int) -> None:
        batch_clips = max(1, self.spec.batch_frames // self.spec.frames)
        ahead = decode_ahead(todo, frames=self.spec.frames, size=self.size, ahead=2 * batch_clips)
        for position, (clip, result) in enumerate(ahead, start=done):
            self.job.check_stop()
            self.job.events.progress(position, total, "clips")
            if isinstance(result, ReadyClip):
                self._batch.append((clip, result))
            else:
                self._set_aside(clip, result.reason, result.detail)
            room = self.spec.shard_clips - len(self._rows)
            if len(self._batch) >= min(batch_clips, room):
                self._encode_batch()
            if len(self._rows) == self.spec.shard_clips:
                self._land()
        self._encode_batch()
        self._land()
        self.job.events.progress(total, total, "clips")

    def _encode_batch(self) -> None:
        if not self._batch:
            return
        frames = torch.cat([ready.frames for _, ready in self._batch])
        try:
            latents = torch.cat([self.vae.encode(part) for part in torch.split(frames, self.spec.batch_frames)])
        except torch.OutOfMemoryError as error:
            raise WorkFailed(
                f"{self.spec.batch_frames} frames of {self.size} × {self.size} do not fit into the GPU's memory",
                hint=f"--batch-frames {max(1, self.spec.batch_frames // 2)}",
            ) from error
        stored = latents.to(DTYPES[self.spec.dtype]).reshape(len(self._batch), self.spec.frames, *latents.shape[1:])
        for (clip, ready), row in zip(self._batch, stored, strict=True):
            if not row.isfinite().all():
                what = f"the VAE gives values that {self.spec.dtype} cannot hold"
                self._set_aside(clip, NON_FINITE, what, self.shards.fingerprint)
                continue
            self.quarantine.release(clip.video_id)
            self._rows.append(row)
            self._entries.append(ready.entry)
        self._batch = []

    def _land(self) -> None:
        if self._rows:
            self.shards.append({"latents": torch.stack(self._rows)}, self._entries)
        self._rows, self._entries = [], []

    def _is_known_bad(self, clip: Clip) -> bool:
        return self.quarantine.holds(clip, self.shards.fingerprint)

    def _set_aside(self, clip: Clip, reason: str, detail: str, settings: str = "") -> None:
        self.quarantine.add(clip, reason, detail, settings)
        self.job.events.warning(
            f"{clip.video_id} is left out: {detail} ({reason})", hint=f"listed in {self.quarantine.path.name}"
        )

    def _clip_bytes(self) -> int:
        side = self.size // self.vae.downsampling
        values = self.spec.frames * self.vae.latent_channels * side * side
        return int(values * DTYPES[self.spec.dtype].itemsize * 1.02)

    def _about(self, wanted: list[str]) -> dict[str, Any]:
        entries = [self.shards.places[name].entry for name in wanted if name in self.shards.places]
        side = self.size // self.vae.downsampling
        return {
            "format": "t2v-latents",
            "split": self.split,
            "encoder": {"source": self.spec.vae, "sha256": self.vae.identity.sha256},
            "statistics": self.vae.statistics(),
            "is_scaled": True,
            "shape": [self.spec.frames, self.vae.latent_channels, side, side],
            "fps": median(entry["effective_fps"] for entry in entries),
        }


def report_changes(job: Job, shards: ShardSet, what: str, stale: list[str]) -> None:
    """Say why rows that were there are made again."""
    if shards.changed:
        job.events.warning(f"the {what} are made again: {', '.join(shards.changed)}")
    if shards.torn:
        job.events.warning(f"{len(shards.torn)} shards of the {what} were not whole and are made again")
    if stale:
        job.events.warning(f"{len(stale)} clips changed since the {what} were made ({', '.join(sorted(stale)[:5])})")
