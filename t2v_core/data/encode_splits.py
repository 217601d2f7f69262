"""Loads the encoders and takes every split through both of them."""

from __future__ import annotations

from t2v_core.data.encode_captions import CaptionEncoder
from t2v_core.data.encode_clips import ClipEncoder
from t2v_core.data.msrvtt import Annotations
from t2v_core.data.quarantine import Quarantine
from t2v_core.errors import AskedWrongly, WorkFailed
from t2v_core.files import MANIFEST
from t2v_core.job import Job
from t2v_core.models.encoders import VideoAutoencoder, load_prompt_encoder, load_vae
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset


def encode_splits(spec: PreprocessSpec, splits: list[Annotations], job: Job) -> int:
    """Latents of every split, then text of every split; returns how many clips were there already.

    Raises AskedWrongly when an encoder cannot be loaded, before any work; WorkFailed when no clip can be used; Stopped.
    """
    vae = load_vae(spec.vae, device=spec.device, precision=spec.precision)
    encoder = load_prompt_encoder(spec.text_encoder, device=spec.device, precision=spec.precision)
    _check_size(spec.size or vae.default_size, vae)
    dataset = Dataset(job.workspace.resolve(spec.data))
    quarantine = Quarantine(dataset.quarantine)
    skipped = sum(
        ClipEncoder(spec, vae, dataset, part.split, quarantine=quarantine, job=job).run(part.clips) for part in splits
    )
    unusable = [part for part in splits if not (dataset.latents / part.split / MANIFEST).is_file()]
    if len(unusable) == len(splits):
        ids = [clip.video_id for part in splits for clip in part.clips]
        raise WorkFailed(
            f"none of {len(ids)} clips can be used; {ids[0]}: {quarantine.entries[ids[0]].detail}",
            hint=f"every reason is in {job.workspace.relative(dataset.quarantine)}",
        )
    for part in unusable:
        job.events.warning(f"no clip of {part.split} can be used", hint=f"see {dataset.quarantine.name}")
    for part in splits:
        CaptionEncoder(spec, encoder, dataset, part.split, job).run(part.clips)
    return skipped


def _check_size(size: int, vae: VideoAutoencoder) -> None:
    if size % vae.downsampling:
        raise AskedWrongly(
            f"size {size} is not a multiple of {vae.downsampling}, by which this VAE shrinks frames",
            hint=f"--size {max(1, size // vae.downsampling) * vae.downsampling}",
        )
