"""Turns clips and captions into what training reads: `latents/<split>/` and `text_embeddings/<split>/`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from t2v_core.data.annotations.msrvtt import Annotations, join_splits, report
from t2v_core.data.quarantine import Quarantine
from t2v_core.events.results import Preprocessed
from t2v_core.job import Job
from t2v_core.processes.alone import DATASET_LOCK, alone
from t2v_core.processes.process_group import ProcessGroup, joined
from t2v_core.specs import OnOverlap, PreprocessSpec
from t2v_core.training.base.sense import require_open_model
from t2v_core.workspace import Dataset

if TYPE_CHECKING:
    from t2v_core.data.encode.encode_splits import Encoders

OPEN_ONLY = ("height", "width", "buckets", "vae_tiling")
ENCODERS = ("vae", "text_encoder")


def preprocess(spec: PreprocessSpec, job: Job) -> Preprocessed | None:
    """Encode every split that has captions; what whole shards hold already is not made again.

    Unreadable clips go into `quarantine.csv` and the work goes on. Several processes of one run share the shards among
    them and make the same files as one; the first returns counts, bytes and paths, the others None.
    Raises InvalidRequest for a data set or encoder that is not there, WorkFailed when no clip can be used, Stopped.
    """
    dataset = Dataset(job.workspace.resolve(spec.data))
    with joined(job) as group:
        _require_sense(spec, job)
        splits = [_limited(part, spec.limit) for part in _read_splits(dataset, spec.on_overlap, job)]
        with alone(dataset.root, DATASET_LOCK, job) if group.is_first else nullcontext():
            spec, encoders = _encoders(spec, group, job)
            from t2v_core.data.encode.encode_splits import encode_splits  # 9 s that a wrong path need not pay

            skipped = encode_splits(spec, encoders, splits, group, job)
            return _result(dataset, splits, skipped, job) if group.is_first else None


def _require_sense(spec: PreprocessSpec, job: Job) -> None:
    """Raise InvalidRequest for what only open models have; what only ours have is passed over with a word."""
    if spec.model is not None:
        if passed_over := [name for name in ENCODERS if name in spec.model_fields_set]:
            job.events.warning(f"{' and '.join(passed_over)} of t2v's own models: {spec.model} has encoders of its own")
        return
    require_open_model(spec, OPEN_ONLY)


def _encoders(spec: PreprocessSpec, group: ProcessGroup, job: Job) -> tuple[PreprocessSpec, Encoders]:
    """What makes latents and embeddings, and the spec as it wants it."""
    if spec.model is None:
        job.events.stage("encoders", f"{spec.vae}, {spec.text_encoder}")
        from t2v_core.data.encode.encode_splits import own_encoders  # 9 s that a wrong path need not pay

        return spec, own_encoders(spec, group)
    job.events.stage("encoders", spec.model)
    from t2v_core.verbs.open.encoders import open_encoders  # diffusers' families, which ours need not

    return open_encoders(spec, group, job)


def _read_splits(dataset: Dataset, on_overlap: OnOverlap, job: Job) -> list[Annotations]:
    """Every split that is there, its files and its oddities said. Raises InvalidRequest as `join_splits`."""
    splits = join_splits(dataset, on_overlap)
    job.events.stage("captions", "; ".join(f"{part.split}: {part.source}" for part in splits))
    for sentence in report(dataset, splits):
        job.events.warning(sentence)
    return splits


def _limited(part: Annotations, limit: int | None) -> Annotations:
    return Annotations(part.split, part.clips[:limit], part.without_file, part.without_caption)


def _result(dataset: Dataset, splits: list[Annotations], skipped: int, job: Job) -> Preprocessed:
    folders = [folder / part.split for part in splits for folder in (dataset.latents, dataset.text_embeddings)]
    listed = {clip.video_id for part in splits for clip in part.clips}
    quarantined = listed & Quarantine(dataset.quarantine).entries.keys()
    return Preprocessed(
        clips=len(listed) - len(quarantined),
        captions=sum(len(clip.captions) for part in splits for clip in part.clips),
        quarantined=len(quarantined),
        skipped=skipped,
        bytes=sum(file.stat().st_size for folder in folders for file in folder.glob("*.*")),
        data=str(job.workspace.relative(dataset.root)),
        paths=tuple(str(job.workspace.relative(folder)) for folder in folders),
    )
