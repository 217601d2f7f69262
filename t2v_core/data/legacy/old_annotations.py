"""Which of the previous system's files belong to which split, and which captions to them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from t2v_core.data.annotations.annotation_forms import find_source
from t2v_core.data.annotations.annotation_rows import CaptionedClip, Split
from t2v_core.data.annotations.clip_folder import composed
from t2v_core.data.annotations.msrvtt import Annotations, Clip
from t2v_core.data.annotations.overlap import first_ids, ids_to_drop, in_natural_order
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job
from t2v_core.specs import OnOverlap
from t2v_core.workspace import Dataset


@dataclass(frozen=True)
class ImportedSplits:
    """The clips of each split; their `path` is the latents' `.pt` file.

    has_captions: annotations were found; else every clip is in train, without captions
    """

    parts: list[Annotations]
    has_captions: bool


def imported_splits(dataset: Dataset, old: Dataset, on_overlap: OnOverlap, job: Job) -> ImportedSplits:
    """Join `latents/*.pt` with the annotations of the data set, else with those beside the old folders.

    With annotations, a clip that they do not list is left out: it may be a test clip. What does not fit together is
    said in warnings. Raises InvalidRequest for a folder without latents, and as the readers of annotations do.
    """
    files = {composed(path.stem): path for path in old.latents.glob("*.pt")} if old.latents.is_dir() else {}
    if not files:
        raise InvalidRequest(
            f"{old.latents} holds no .pt files", hint="name the folder in which latents/ and text_embeddings/ lie"
        )
    listed = _listed(dataset, job) or (_listed(old, job) if old.root != dataset.root else {})
    if not listed:
        job.events.warning(
            f"there are no annotations: all {len(files)} clips go to train, test clips too if there are any",
            hint=f"put train_9k.json and test_1k.json into {job.workspace.relative(dataset.annotations)}",
        )
        clips = [Clip(files[name].stem, files[name], []) for name in in_natural_order(files)]
        return ImportedSplits([Annotations("train", clips, [], [])], has_captions=False)
    return ImportedSplits(_joined(listed, files, on_overlap, job), has_captions=True)


def _listed(dataset: Dataset, job: Job) -> dict[Split, tuple[str, list[CaptionedClip]]]:
    """Each split's source in words, and its clips."""
    listed: dict[Split, tuple[str, list[CaptionedClip]]] = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        if source := find_source(dataset, split):
            listed[split] = (source.describe(), source.read())
    if listed:
        job.events.stage("captions", "; ".join(f"{split}: {source}" for split, (source, _) in listed.items()))
    return listed


def _joined(
    listed: dict[Split, tuple[str, list[CaptionedClip]]], files: dict[str, Path], on_overlap: OnOverlap, job: Job
) -> list[Annotations]:
    dropped: set[str] = set()
    if "train" in listed and "test" in listed:
        train, test = ([row.video_id for row in listed[split][1]] for split in ("train", "test"))
        dropped = ids_to_drop(train, test, on_overlap, (listed["train"][0], listed["test"][0]))
    parts = []
    for split, (source, rows) in listed.items():
        wanted = [row for row in rows if split == "test" or row.video_id not in dropped]
        there = [(row, files[name]) for row in wanted if (name := composed(row.video_id)) in files]
        clips = [Clip(row.video_id, path, row.captions) for row, path in there]
        without_file = [row.video_id for row in wanted if composed(row.video_id) not in files]
        if without_file:
            job.events.warning(f"{len(without_file)} clips of {split} have no latents ({first_ids(without_file)})")
        if clips := [clip for clip in clips if clip.captions]:
            parts.append(Annotations(split, clips, without_file, [], source))
    known = {composed(row.video_id) for _, rows in listed.values() for row in rows}
    if strangers := in_natural_order(files.keys() - known):
        job.events.warning(f"{len(strangers)} latents are left out: no annotation lists them ({first_ids(strangers)})")
    if not parts:
        raise InvalidRequest(
            f"none of the {len(known)} captioned clips has latents in {next(iter(files.values())).parent}",
            hint="the file is named after video_id: latents/video7.pt",
        )
    return parts
