"""`t2v data manifest`: whatever annotation form is there, as JSON lines that are read before all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from t2v_core.data.annotations.annotation_forms import find_source
from t2v_core.data.annotations.annotation_rows import CaptionedClip, Split
from t2v_core.data.annotations.clip_folder import ClipFolder, clip_folder
from t2v_core.data.annotations.clip_manifest import MANIFEST_FILES, manifest_text, write_manifest_file
from t2v_core.data.annotations.msrvtt import BROKEN, require_source
from t2v_core.data.annotations.overlap import first_ids, ids_to_drop
from t2v_core.data.annotations.text_file import require_encoding
from t2v_core.errors import InvalidRequest
from t2v_core.events.results import ManifestsWritten
from t2v_core.job import Job
from t2v_core.specs import ManifestSpec
from t2v_core.workspace import Dataset


def write_manifests(spec: ManifestSpec, job: Job) -> ManifestsWritten:
    """Write `annotations/train.manifest.jsonl`, and `test.manifest.jsonl` where there is a test split.

    A manifest that already exists and says something else is replaced only when asked. Returns counts and paths.
    Raises InvalidRequest as the readers do, and for splits that overlap.
    """
    encoding = None if spec.encoding is None else require_encoding(spec.encoding)
    dataset = Dataset(job.workspace.resolve(spec.data), encoding)
    splits = _sources(dataset, job)
    if "test" in splits:
        train, test = ([clip.video_id for clip in splits[split][1]] for split in ("train", "test"))
        dropped = ids_to_drop(train, test, spec.on_overlap, (splits["train"][0], splits["test"][0]))
        splits["train"] = (splits["train"][0], [clip for clip in splits["train"][1] if clip.video_id not in dropped])
        if dropped:
            job.events.warning(f"{len(dropped)} clips are left out of train: they are test clips")
    texts = {split: manifest_text(clips, split) for split, (_, clips) in splits.items()}
    written = [split for split, text in texts.items() if _is_new(_path(dataset, split), text, spec)]
    for split in written:
        write_manifest_file(_path(dataset, split), texts[split])
    return ManifestsWritten(
        clips=sum(len(clips) for _, clips in splits.values()),
        captions=sum(len(clip.captions) for _, clips in splits.values() for clip in clips),
        written=len(written),
        paths=tuple(str(job.workspace.relative(_path(dataset, split))) for split in splits),
    )


def _path(dataset: Dataset, split: Split) -> Path:
    return dataset.annotations / MANIFEST_FILES[split]


def _sources(dataset: Dataset, job: Job) -> dict[Split, tuple[str, list[CaptionedClip]]]:
    """Each split's source in words and its clips; the manifest itself is read only where there is no other form."""
    folder = clip_folder(dataset) if dataset.videos.is_dir() else ClipFolder()
    splits: dict[Split, tuple[str, list[CaptionedClip]]] = {}
    for split in MANIFEST_FILES:
        source = find_source(dataset, split, skip_manifest=True)
        if source is None and (split == "train" or (dataset.annotations / MANIFEST_FILES[split]).is_file()):
            source = require_source(dataset, split)
        if source is None:
            continue
        job.events.stage(split, source.describe())
        if source.note:
            job.events.warning(source.note)
        clips = [replace(c, file=path.name if (path := folder.find(c)) else c.file) for c in source.read()]
        if broken := [clip.video_id for clip in clips if any(BROKEN in text for text in clip.captions)]:
            job.events.warning(f"broken characters in captions of {len(broken)} {split} clips ({first_ids(broken)})")
        splits[split] = (source.describe(), clips)
    return splits


def _is_new(path: Path, text: str, spec: ManifestSpec) -> bool:
    if not path.is_file():
        return True
    if path.read_bytes() == text.encode():
        return False
    if spec.replace:
        return True
    raise InvalidRequest(
        f"{path} already exists and says something else", hint="--replace overwrites it; nothing is merged"
    )
