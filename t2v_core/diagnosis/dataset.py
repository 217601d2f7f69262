"""The data set: clips and captions, what preprocessing made of them, and what it could not use."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from t2v_core.data.annotations.msrvtt import Annotations, join_splits, report
from t2v_core.data.quarantine import Quarantine
from t2v_core.data.store.buckets import shares_in_words
from t2v_core.diagnosis.check import Check, bad, good, odd
from t2v_core.diagnosis.values import not_finite
from t2v_core.disk.files import MANIFEST, incompleteness
from t2v_core.disk.plain_json import MOST_MANIFEST_BYTES, read_table
from t2v_core.errors import InvalidRequest
from t2v_core.format import counted
from t2v_core.specs import PreprocessSpec
from t2v_core.workspace import Dataset


def examine_dataset(dataset: Dataset, spec: PreprocessSpec, preprocess: str, *, checksums: bool) -> Iterator[Check]:
    """Examine clips, captions, and what preprocessing made of them.

    preprocess: the line that makes latents of this data set; spec: what it would do
    """
    examine = preprocess.replace(" preprocess", " data check", 1)
    if not dataset.root.is_dir():
        yield _absent(dataset, spec, preprocess)
        return
    try:
        splits = join_splits(dataset, spec.on_overlap)
        oddities = report(dataset, splits)
    except InvalidRequest as error:
        sentence = f"{error.message}; {error.hint}" if error.hint else error.message
        yield bad("data", sentence, _captions_line(dataset, error, preprocess, examine))
        splits = []
    else:
        counts = " and ".join(f"{len(part.clips):,} {part.split}" for part in splits)
        yield good("data", f"{counts} clips with captions in {dataset.root}")
        for sentence in oddities:
            yield odd("captions", sentence, examine)
    yield from _quarantined(dataset, examine)
    yield from _preprocessed(dataset, splits, spec, preprocess, checksums=checksums)


def _absent(dataset: Dataset, spec: PreprocessSpec, preprocess: str) -> Check:
    sentence = f"there is no data set at {dataset.root}"
    if spec.vae == "embedded":  # made for the built-in world, which can be made again
        return bad("data", sentence, preprocess.replace(" preprocess", " data shapes", 1))
    return bad("data", f"{sentence}: clips go into videos/, captions into annotations/", _folders_line(dataset))


def _captions_line(dataset: Dataset, error: InvalidRequest, preprocess: str, examine: str) -> str:
    """Folders can be made and overlaps dropped; what else is wrong with captions, only their maker can mend."""
    if "drop-from-train" in error.hint:
        return f"{preprocess} --on-overlap drop-from-train"
    return examine if dataset.videos.is_dir() and dataset.annotations.is_dir() else _folders_line(dataset)


def _folders_line(dataset: Dataset) -> str:
    return f"mkdir -p {shlex.quote(str(dataset.videos))} {shlex.quote(str(dataset.annotations))}"


def _quarantined(dataset: Dataset, examine: str) -> Iterator[Check]:
    entries = Quarantine(dataset.quarantine).entries.values()
    if not entries:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(e.reason for e in entries).most_common(3))
    yield odd("quarantine", f"{counted(len(entries), 'clip')} left out: {reasons}; supply better files", examine)


def _preprocessed(
    dataset: Dataset, splits: list[Annotations], spec: PreprocessSpec, preprocess: str, *, checksums: bool
) -> Iterator[Check]:
    wrong = False
    for part in splits:
        for what, folder in (("latents", dataset.latents), ("text embeddings", dataset.text_embeddings)):
            why = incompleteness(folder / part.split, checksums=checksums)
            if why:
                wrong = True
                yield bad(what, f"{part.split} is not preprocessed: {why}", preprocess)
            elif broken := _broken_values(folder / part.split, whole=checksums):
                wrong = True
                yield bad(what, f"{part.split}: {broken}", _made_again(folder / part.split, preprocess))
    manifest = manifest_of(dataset.latents / "train")
    if wrong or not splits or not manifest:
        return
    made = {entry["video_id"] for entry in manifest.get("clips", [])}
    lost = set(Quarantine(dataset.quarantine).entries)
    train = next((part for part in splits if part.split == "train"), splits[0])
    to_come = [clip.video_id for clip in train.clips if clip.video_id not in made | lost]
    told = f"{len(made):,} training clips, {_shapes(manifest)}"
    if changed := _changed(manifest, spec):
        yield odd("latents", f"{told}; the settings ask for {changed} instead", preprocess)
    elif to_come and spec.limit is None:
        yield odd("latents", f"{told}; {counted(len(to_come), 'clip')} to come", preprocess)
    else:
        yield good("latents", told)


def _shapes(manifest: dict[str, Any]) -> str:
    shares = manifest.get("buckets")
    return shares_in_words(shares) if shares else "×".join(map(str, manifest.get("shape", []))) + " each"


def _broken_values(folder: Path, *, whole: bool) -> str | None:
    """Which shard holds values that are not finite, in words. whole: look at all of them, not at each shard's ends."""
    for shard in sorted(folder.glob("*.safetensors")):
        if not_finite(shard, whole=whole) is not None:
            return f"{shard.name} holds values that are not finite"
    return None


def _made_again(folder: Path, preprocess: str) -> str:
    """Its settings are those that are asked for, so that it would be kept: it has to step aside."""
    path = shlex.quote(str(folder))
    return f"mv {path} {path}.not-used && {preprocess}"


def _changed(manifest: dict[str, Any], spec: PreprocessSpec) -> str:
    """What was asked for in the settings and is not what the latents were made with."""
    made = manifest.get("settings", {})
    asked = {name: getattr(spec, name) for name in ("frames", "size", "dtype") if name in spec.model_fields_set}
    return ", ".join(f"{name} {value}" for name, value in asked.items() if name in made and made[name] != value)


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return a split's manifest; empty when there is none or it cannot be read."""
    try:
        return read_table(folder / MANIFEST, MOST_MANIFEST_BYTES)
    except (OSError, ValueError):
        return {}
