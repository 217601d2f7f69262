"""Latents of the previous system, one `.pt` file a clip, into a shard set."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

from torch import Tensor

from t2v_core.data.annotations.msrvtt import Annotations, Clip
from t2v_core.data.encode.encode_clips import DTYPES
from t2v_core.data.legacy.import_text import import_text
from t2v_core.data.legacy.old_annotations import ImportedSplits
from t2v_core.data.legacy.old_files import ORIGIN, refuse_to_replace
from t2v_core.data.legacy.old_rows import OldRow
from t2v_core.data.legacy.old_shards import OldShards, Packed
from t2v_core.data.legacy.old_tensors import LATENT_SHAPE, is_same_file
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.store.latents import LatentStore
from t2v_core.data.store.shard_set import Entry, ShardSet, report_changes
from t2v_core.disk.files import MANIFEST, require_space
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.job import Job
from t2v_core.models.encoders import VideoAutoencoder, load_prompt_encoder, load_vae
from t2v_core.specs import ImportLatentsSpec
from t2v_core.workspace import Dataset

# Scaled latents of Stable Diffusion's VAE have a standard deviation of about 1, unscaled ones of 1 / 0.18215 = 5.5.
SCALED_STD = (0.4, 2.5)
SCALED_AMONG = 3  # clips: the median of so many says it, a single black one may not
SPREADS = 10_000  # the latest ones; sorting a million for each shard would take longer than reading them
SCALING = {"scaling_factor": 0.18215, "mean": [0.0] * 4, "std": [1.0] * 4}


@dataclass(frozen=True)
class Imported:
    """How many clips can be trained on now, how many had latents before, and how many captions there are."""

    clips: int
    skipped: int
    captions: int


def import_splits(
    spec: ImportLatentsSpec, splits: ImportedSplits, dataset: Dataset, old: Dataset, job: Job
) -> Imported:
    """Import latents of every split, then text of every split.

    Raises InvalidRequest for encoders or stores that do not fit, before any work; WorkFailed when no clip can be used.
    """
    vae = load_vae(spec.vae)
    _require_that_scaling(vae)
    encoder = load_prompt_encoder(spec.text_encoder, device=spec.device, precision=spec.precision)
    quarantine = Quarantine(dataset.quarantine)
    sets = [LatentImport(spec, vae, dataset, part, quarantine=quarantine, job=job) for part in splits.parts]
    skipped = sum(latents.run() for latents in sets)
    _require_some(dataset, splits, quarantine, job)
    captions = import_text(spec, splits, dataset, old, encoder=encoder, quarantine=quarantine, job=job)
    stores = [LatentStore.open(dataset, latents.split) for latents in sets if latents.shards.places]
    return Imported(sum(len(store) for store in stores), skipped, captions)


def _require_that_scaling(vae: VideoAutoencoder) -> None:
    """The previous system multiplied by 0.18215 and did nothing else; decoding has to undo just that."""
    found = vae.statistics()
    if found != SCALING or vae.downsampling != 8:
        raise InvalidRequest(
            f"the VAE {vae.identity.source} cannot have made the old latents: it normalises them differently",
            hint="name the VAE that made them: --vae stabilityai/sd-vae-ft-mse",
        )


def _require_some(dataset: Dataset, splits: ImportedSplits, quarantine: Quarantine, job: Job) -> None:
    if any((dataset.latents / part.split / MANIFEST).is_file() for part in splits.parts):
        return
    ids = [clip.video_id for part in splits.parts for clip in part.clips]
    raise WorkFailed(
        f"none of {len(ids)} files can be used; {ids[0]}: {quarantine.entries[ids[0]].detail}",
        hint=f"every reason is in {job.workspace.relative(quarantine.path)}",
    )


class LatentImport:
    """One split. The clips' `path` is their `.pt` file.

    Raises InvalidRequest when the split's folder holds latents that were not imported: they would be lost.
    """

    def __init__(
        self,
        spec: ImportLatentsSpec,
        vae: VideoAutoencoder,
        dataset: Dataset,
        part: Annotations,
        *,
        quarantine: Quarantine,
        job: Job,
    ) -> None:
        self.spec, self.vae, self.split, self.quarantine, self.job = spec, vae, part.split, quarantine, job
        self.clips = {clip.video_id: clip for clip in part.clips}
        self.directory = dataset.latents / part.split
        refuse_to_replace(self.directory)
        self.shards = ShardSet(self.directory, self._settings())
        self._spreads: deque[float] = deque(maxlen=SPREADS)

    def _settings(self) -> dict[str, Any]:
        frames, _, height, _ = LATENT_SHAPE
        return {
            "origin": ORIGIN,
            "vae": self.vae.identity.sha256,
            "posterior": "unknown",
            "frames": frames,
            "frame_rule": "evenly spaced, as the previous system read them",
            "size": height * self.vae.downsampling,
            "dtype": self.spec.dtype,
            "assumed_fps": self.spec.fps,
        }

    def run(self) -> int:
        """Import what is not in whole shards yet and seal the set; returns how many clips were there already."""
        stale = self.shards.keep(lambda e: e["video_id"] not in self.clips or self._is_current(e))
        report_changes(self.job, self.shards, f"latents of {self.split}", stale)
        ready = [name for name in self.clips if name in self.shards.places]
        files = OldShards(
            self.shards, self.clips, LATENT_SHAPE, self.spec.dtype, "clips", quarantine=self.quarantine, job=self.job
        )  # fmt: skip
        missing = files.missing()
        size_bytes = prod(LATENT_SHAPE) * DTYPES[self.spec.dtype].itemsize
        require_space(self.directory, len(missing) * size_bytes, f"latents of {len(missing)} clips")
        self.job.events.stage(f"latents {self.split}", f"{len(missing)} files to read, {len(ready)} already there")
        files.make(missing, self.spec.shard_clips, self._pack)
        if self.shards.places:
            self.shards.seal(list(self.clips), self._about())
        else:
            (self.directory / MANIFEST).unlink(missing_ok=True)
        return len(ready)

    def _is_current(self, entry: Entry) -> bool:
        return is_same_file(self._clip(entry).path, LATENT_SHAPE, entry)

    def _clip(self, entry: Entry) -> Clip:
        return self.clips[entry["video_id"]]

    def _pack(self, usable: list[OldRow], rows: Tensor) -> Packed:
        self._spreads.extend(row.spread for row in usable)
        self._require_scaled(self._clip(usable[0].entry).path.parent)
        return {"latents": rows}, [row.entry | {"effective_fps": self.spec.fps} for row in usable]

    def _require_scaled(self, folder: Path) -> None:
        spread = median(self._spreads)
        if len(self._spreads) < SCALED_AMONG or SCALED_STD[0] <= spread <= SCALED_STD[1]:
            return
        how = "not scaled" if spread > SCALED_STD[1] else "scaled twice, or empty"
        raise InvalidRequest(
            f"the latents in {folder} have a standard deviation of {spread:.2g} instead of about 1: they are {how}",
            hint="they should be what the VAE gives × 0.18215",
        )

    def _about(self) -> dict[str, Any]:
        return {
            "format": "t2v-latents",
            "split": self.split,
            "provenance": ORIGIN,
            "encoder": {"source": self.spec.vae, "sha256": self.vae.identity.sha256},
            "statistics": SCALING,
            "is_scaled": True,
            "shape": list(LATENT_SHAPE),
            "fps": self.spec.fps,
        }
