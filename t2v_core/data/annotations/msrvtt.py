"""Which captions belong to which clip: annotation files joined with the videos folder by `video_id`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from t2v_core.data.annotations.annotation_forms import ANNOTATION_FILES, Source, find_source
from t2v_core.data.annotations.annotation_rows import Split
from t2v_core.data.annotations.clip_folder import ClipFolder, clip_files, clip_folder, composed
from t2v_core.data.annotations.overlap import first_ids, ids_to_drop, shared_ids
from t2v_core.errors import InvalidRequest
from t2v_core.format import counted
from t2v_core.specs import OnOverlap
from t2v_core.workspace import CLIP_SUFFIXES, Dataset

__all__ = [
    "Annotations", "Clip", "Split", "clip_files", "join_annotations", "join_splits", "present_splits",
    "read_annotations", "report", "require_source",
]  # fmt: skip


# What stands for a character that cannot be read (Unicode's replacement character).
BROKEN = "\ufffd"


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
    source: which file, in which form; note: what people should know of that form
    left_out: how many training clips are not here because they are test clips
    """

    split: Split
    clips: list[Clip]
    without_file: list[str]
    without_caption: list[str]
    source: str = ""
    note: str = ""
    left_out: int = 0

    @property
    def listed(self) -> set[str]:
        """Return every id that the annotation file speaks of."""
        return {clip.video_id for clip in self.clips} | {*self.without_file, *self.without_caption}


def read_annotations(dataset: Dataset, split: Split) -> list[Clip]:
    """Read the clips of a split that have a file and a caption. Raises InvalidRequest as `join_annotations`."""
    return join_annotations(dataset, split).clips


def join_splits(dataset: Dataset, on_overlap: OnOverlap) -> list[Annotations]:
    """Join every split that has annotations; no clip is in both.

    Raises InvalidRequest as `join_annotations`, and for clips in both unless they are to be left out of training.
    """
    found = {split: find_source(dataset, split) for split in ANNOTATION_FILES}  # looked for once: 1 s for all sentences
    splits = [_joined(dataset, split, source) for split, source in found.items() if source is not None]
    if not splits:
        return [join_annotations(dataset, "train")]
    if len(splits) == 2 and splits[0].clips and not splits[1].clips:
        what = f"none of the {len(splits[1].listed)} test clips of {splits[1].source} has a video file: no test split"
        splits = [replace(splits[0], note=what)]
    splits = [_with_clips(part, dataset) for part in splits]
    if len(splits) == 1:
        return splits
    train, test = splits
    dropped = ids_to_drop(train.listed, test.listed, on_overlap, (train.source, test.source))
    kept = replace(
        train,
        clips=[clip for clip in train.clips if clip.video_id not in dropped],
        without_file=[name for name in train.without_file if name not in dropped],
        without_caption=[name for name in train.without_caption if name not in dropped],
        left_out=len(dropped),
    )
    if not kept.clips:
        raise InvalidRequest(f"every training clip of {train.source} is a test clip too", hint="use other annotations")
    return [kept, test]


def join_annotations(dataset: Dataset, split: Split) -> Annotations:
    """Read a split's captions and find each clip's video by its id, never by its position.

    Raises InvalidRequest when a folder or file is missing, the file is not what it should be, or no caption has a
    video.
    """
    return _with_clips(_joined(dataset, split, require_source(dataset, split)), dataset)


def _with_clips(part: Annotations, dataset: Dataset) -> Annotations:
    if part.clips:
        return part
    not_taken = clip_folder(dataset).not_taken(part.without_file)
    raise InvalidRequest(
        f"none of the {len(part.listed)} captioned clips of {part.source} is in {dataset.videos}"
        + (f"; {_not_taken(not_taken)}" if not_taken else ""),
        hint="video_id names the file: video7 is videos/video7.mp4",
    )


def _not_taken(names: list[str]) -> str:
    return f"{_some(names, 'file')} {_are(names)} there, but only {' '.join(CLIP_SUFFIXES)} are read"


def _joined(dataset: Dataset, split: Split, source: Source) -> Annotations:
    listed = source.read()
    folder = clip_folder(dataset)
    clips, without_file = [], []
    for row in listed:
        path = folder.find(row)
        if path is None:
            without_file.append(row.video_id)
        elif row.captions:
            clips.append(Clip(row.video_id, path, row.captions))
    lost = set(without_file)
    silent = [row.video_id for row in listed if not row.captions and row.video_id not in lost]
    return Annotations(split, clips, without_file, silent, source.describe(), source.note)


def present_splits(dataset: Dataset) -> list[Split]:
    """Return the splits that have an annotation file. Raises InvalidRequest as `find_source`."""
    return [split for split in ANNOTATION_FILES if find_source(dataset, split) is not None]


def require_source(dataset: Dataset, split: Split, *, skip_manifest: bool = False) -> Source:
    """Return the files a split is read from. Raises InvalidRequest when there are none."""
    if not dataset.root.is_dir():
        raise InvalidRequest(
            f"there is no data set at {dataset.root}", hint="name another with --data, or make one: t2v data shapes"
        )
    source = find_source(dataset, split, skip_manifest=skip_manifest)
    if source is not None:
        return source
    if not dataset.annotations.is_dir():
        raise InvalidRequest(
            f"{dataset.annotations} is missing", hint=f"put {ANNOTATION_FILES[split][0]} there, or name another --data"
        )
    names = " or ".join((ANNOTATION_FILES[split][0], f"msrvtt_{ANNOTATION_FILES[split][0]}"))
    raise InvalidRequest(
        f"{dataset.annotations} holds no {split} captions",
        hint=f"put {names} there, or MSR-VTT's annotations in another form: TERMINAL_COMMANDS.md lists them",
    )


def report(dataset: Dataset, splits: Iterable[Annotations]) -> list[str]:
    """Say what does not fit together, one sentence each, for warnings; none of it stops the work."""
    splits = list(splits)
    folder = clip_folder(dataset)
    sentences = []
    for part in splits:
        if part.note:
            sentences.append(part.note)
        if part.left_out:
            sentences.append(f"{part.left_out} clips are left out of {part.split}: they are test clips")
        if part.without_file:
            sentences.append(f"{_some(part.without_file, f'captioned {part.split} clip')} without a video file")
        if not_taken := folder.not_taken(part.without_file):
            sentences.append(_not_taken(not_taken))
        if part.without_caption:
            sentences.append(f"{_some(part.without_caption, f'{part.split} clip')} with blank captions only")
        if broken := [clip.video_id for clip in part.clips if any(BROKEN in text for text in clip.captions)]:
            what = _some(broken, f"{part.split} clip")
            sentences.append(f"{what} with broken characters in a caption, read as {BROKEN} (U+FFFD)")
    sentences += _about_files(folder)
    listed = [part.listed for part in splits]
    known = {composed(name) for ids in listed for name in ids}
    used = {clip.path for part in splits for clip in part.clips}
    if uncaptioned := [name for name, path in folder.files.items() if path not in used and composed(name) not in known]:
        sentences.append(f"{_some(uncaptioned, 'video file')} without a caption")
    if len(listed) == 2 and (shared := shared_ids(*listed)):
        sentences.append(f"{_some(shared, 'clip')} in both train and test: test scores will look too good")
    return sentences


def _about_files(folder: ClipFolder) -> list[str]:
    sentences = []
    if names := folder.unreadable:
        sentences.append(f"{_some(names, 'video file')} left out: the name is not UTF-8 text; rename what is wanted")
    if names := folder.doubled:
        sentences.append(f"{_some(names, 'video file')} left out: another has the same name but for its suffix")
    return sentences


def _are(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _some(ids: list[str], noun: str) -> str:
    """`3 video files (video7, video9, video12)`, with the first five ids at most."""
    return f"{counted(len(ids), noun)} ({first_ids(ids)})"
