"""A shard of latents in work, which a stop does not lose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.data.annotations.msrvtt import Clip
from t2v_core.data.store.ahead import ReadyClip, is_same_source
from t2v_core.data.store.shard_plan import PlannedShard
from t2v_core.data.store.shard_set import Entry
from t2v_core.data.store.shards import Shard, TornShard, write_shard

# Not a shard's name: readers and manifests know nothing of it. 250 clips are three hours of a CPU core.
BEGUN = "begun-"


class BegunShard:
    """Rows of one planned shard, until they are all there.

    bucket: that its clips are in, empty where the set has one size and length
    remaining: clips that have no row yet, in order, those found unusable included
    waiting: decoded clips that are to go through the VAE together
    """

    def __init__(
        self, directory: Path, settings: dict[str, Any], planned: PlannedShard, clips: Mapping[str, Clip]
    ) -> None:
        self._path, self._begun = directory / planned.name, directory / f"{BEGUN}{planned.name}"
        self._settings = settings
        self.bucket = planned.bucket
        self._rows: list[Tensor] = []
        self._entries: list[Entry] = []
        self._take_up({name: clips[name] for name in planned.video_ids})
        there = {entry["video_id"] for entry in self._entries}
        self.remaining = [clips[name] for name in planned.video_ids if name not in there]
        self.waiting: list[ReadyClip] = []
        self._left = len(self.remaining)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_whole(self) -> bool:
        """Tell whether every clip has been decoded, or found unusable."""
        return self._left == 0

    def decoded(self) -> None:
        """Count one more clip as decoded, or found unusable."""
        self._left -= 1

    def _take_up(self, clips: Mapping[str, Clip]) -> None:
        """What a stopped run had encoded, as far as it still holds."""
        try:
            shard = Shard(self._begun)
        except TornShard:
            return
        if shard.metadata["settings"] != self._settings:
            return
        for row, entry in zip(shard.read("latents"), shard.metadata["rows"], strict=True):
            clip = clips.get(entry["video_id"])
            if clip is not None and entry.get("bucket", "") == self.bucket and is_same_source(clip, entry):
                self.add(row, entry)

    def add(self, row: Tensor, entry: Entry) -> None:
        """Take in one clip's latents, (frames, channels, height, width), and its manifest entry."""
        self._rows.append(row)
        self._entries.append(entry | ({"bucket": self.bucket} if self.bucket else {}))

    def keep(self) -> None:
        """Put by what is there, for the run that goes on with it."""
        self._write(self._begun)

    def land(self) -> None:
        """Write the shard, unless no clip of it could be used."""
        self._write(self._path)
        self._begun.unlink(missing_ok=True)

    def _write(self, path: Path) -> None:
        if self._rows:
            write_shard(path, {"latents": torch.stack(self._rows)}, {"settings": self._settings, "rows": self._entries})
