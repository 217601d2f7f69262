"""Which captions belong to which clip: annotation files joined with the videos folder by `video_id`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from t2v_core.errors import AskedWrongly
from t2v_core.workspace import Dataset

Split = Literal["train", "test"]

ANNOTATION_FILES: dict[Split, tuple[str, ...]] = {
    "train": ("train_9k.json", "msrvtt_train_9k.json"),
    "test": ("test_1k.json", "msrvtt_test_1k.json"),
}
ROW = '{"video_id": "video0", "caption": ["a man sings"]}'
CLIP_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov")


@dataclass(frozen=True)
class Clip:
    """A video file and what people said it shows, in the order of the annotation file; never without a caption."""

    video_id: str
    path: Path
    captions: list[str]


@dataclass(frozen=True)
class Annotations:
    """One split, joined.

    clips: those with a file and a caption, in the order of the annotation file
    without_file: ids that are captioned and have no file
    without_caption: ids that are listed with blank captions only
    """

    split: Split
    clips: list[Clip]
    without_file: list[str]
    without_caption: list[str]

    @property
    def listed(self) -> set[str]:
        """Every id that the annotation file speaks of."""
        return {clip.video_id for clip in self.clips} | {*self.without_file, *self.without_caption}


def read_annotations(dataset: Dataset, split: Split) -> list[Clip]:
    """The clips of a split that have a file and a caption. Raises AskedWrongly as `join_annotations`."""
    return join_annotations(dataset, split).clips


def join_annotations(dataset: Dataset, split: Split) -> Annotations:
    """Read a split's annotation file and find each row's video by its id, never by its position.

    Raises AskedWrongly when a folder or file is missing, the file is not what it should be, or no caption has a video.
    """
    if not dataset.root.is_dir():
        raise AskedWrongly(
            f"there is no data set at {dataset.root}", hint="name another with --data, or make one: t2v data shapes"
        )
    file = _annotation_file(dataset, split)
    captions, named = _captions_by_id(file, _rows(file))
    files = clip_files(dataset)
    by_name = {path.name: path for path in files.values()}
    clips, without_file = [], []
    for video_id, said in captions.items():
        path = by_name.get(named.get(video_id, "")) or files.get(video_id)
        if path is None:
            without_file.append(video_id)
        elif said:
            clips.append(Clip(video_id, path, said))
    if not clips:
        raise AskedWrongly(
            f"none of the {len(captions)} captioned clips of {file} is in {dataset.videos}",
            hint="video_id names the file: video7 is videos/video7.mp4",
        )
    silent = [video_id for video_id, said in captions.items() if not said and video_id not in without_file]
    return Annotations(split, clips, without_file, silent)


def present_splits(dataset: Dataset) -> list[Split]:
    """The splits that have an annotation file."""
    return [split for split in ANNOTATION_FILES if _find(dataset, split) is not None]


def clip_files(dataset: Dataset) -> dict[str, Path]:
    """Every video file of the data set by its name without suffix. Raises AskedWrongly without a videos folder."""
    if not dataset.videos.is_dir():
        raise AskedWrongly(f"{dataset.videos} is missing", hint="put the clips there: video0.mp4, video1.mp4, …")
    return {
        path.stem: path
        for path in sorted(dataset.videos.iterdir())
        if path.suffix.lower() in CLIP_SUFFIXES and not path.name.startswith(".")
    }


def report(dataset: Dataset, splits: Iterable[Annotations]) -> list[str]:
    """What does not fit together, one sentence each, for warnings; none of it stops the work."""
    splits = list(splits)
    sentences = []
    for part in splits:
        if part.without_file:
            sentences.append(f"{_some(part.without_file, f'captioned {part.split} clip')} without a video file")
        if part.without_caption:
            sentences.append(f"{_some(part.without_caption, f'{part.split} clip')} with blank captions only")
    listed = [part.listed for part in splits]
    if uncaptioned := [name for name in clip_files(dataset) if not any(name in ids for ids in listed)]:
        sentences.append(f"{_some(uncaptioned, 'video file')} without a caption")
    if len(listed) == 2 and (shared := sorted(listed[0] & listed[1])):
        sentences.append(f"{_some(shared, 'clip')} in both train and test: test scores will look too good")
    return sentences


def _some(ids: list[str], noun: str) -> str:
    """`3 video files (video7, video9, video12)`, with the first five ids at most."""
    shown = ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
    return f"{len(ids)} {noun}{'s' if len(ids) > 1 else ''} ({shown})"


def _find(dataset: Dataset, split: Split) -> Path | None:
    candidates = (dataset.annotations / name for name in ANNOTATION_FILES[split])
    return next((path for path in candidates if path.is_file()), None)


def _annotation_file(dataset: Dataset, split: Split) -> Path:
    if not dataset.annotations.is_dir():
        raise AskedWrongly(
            f"{dataset.annotations} is missing", hint=f"put {ANNOTATION_FILES[split][0]} there, or name another --data"
        )
    found = _find(dataset, split)
    if found is None:
        names = " or ".join(ANNOTATION_FILES[split])
        raise AskedWrongly(f"{dataset.annotations} holds no {split} captions", hint=f"put {names} there")
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows of the flat list form. Raises AskedWrongly for anything else."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if text.strip() else []
    except OSError as error:
        raise AskedWrongly(f"{file} cannot be read: {error.strerror}", hint="mend its permissions") from error
    except (ValueError, RecursionError) as error:
        raise AskedWrongly(f"{file} is not JSON: {error}", hint="fetch it again, whole") from error
    if rows in ([], {}):
        raise AskedWrongly(f"{file} is empty", hint="fetch it again, whole")
    if not isinstance(rows, list):
        raise AskedWrongly(
            f"{file} should be a list of rows, and is not",
            hint=f"it looks like this: [{ROW}, …]",
        )
    return rows


def _captions_by_id(file: Path, rows: list[dict[str, Any]]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Captions (blank ones dropped; rows of one id merged) and, where a row names it, the video file's name."""
    captions: dict[str, list[str]] = {}
    named: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        if wrong := _what_is_wrong(row):
            raise AskedWrongly(f"row {number} of {file}: {wrong}", hint=f"rows look like this: {ROW}")
        said = [row["caption"]] if isinstance(row["caption"], str) else row["caption"]
        captions.setdefault(row["video_id"], []).extend(text.strip() for text in said if text.strip())
        if isinstance(row.get("video"), str):
            named[row["video_id"]] = Path(row["video"]).name
    return captions, named


def _what_is_wrong(row: object) -> str | None:
    if not isinstance(row, dict):
        return "it should be an object with video_id and caption"
    video_id, caption = row.get("video_id"), row.get("caption")
    if not isinstance(video_id, str) or not video_id:
        return "video_id is missing or not a text"
    if "caption" not in row:
        return "caption is missing"
    texts = [caption] if isinstance(caption, str) else caption
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return "caption should be a text or a list of texts"
    return None
