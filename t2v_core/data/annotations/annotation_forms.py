"""Which annotation file a split is read from, among all the forms in which MSR-VTT goes round.

The first of these that is there, for each split by itself; `annotations/` holds them all:

    1. a manifest             train.manifest.jsonl, test.manifest.jsonl (`t2v data manifest` writes them)
    2. flat lists             train_9k.json, train_7k.json, test_1k.json, also with msrvtt_ before
    3. CSV splits             MSRVTT_train.9k.csv, MSRVTT_train.7k.csv, MSRVTT_JSFUSION_test.csv, train.csv, test.csv;
                              where they list ids only, captions come from the other files
    4. Frozen in Time's       annotation/MSR_VTT.json and lists in high-quality/structured-symlinks/, also in the data
                              set's own folder
    5. anything else          MSRVTT_data.json, train_val_videodatainfo.json, test_videodatainfo.json, then every other
                              .json, .jsonl and .csv by name: its rows say their split, else its name does

Clips that a file calls validation are never trained on; they are the test split where there is no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from t2v_core.data.annotations.annotation_rows import CaptionedClip, Label, Split, label_of_name, read_ids, read_rows
from t2v_core.data.annotations.clip_manifest import MANIFEST_FILES, read_manifest_file
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Dataset

ANNOTATION_FILES: dict[Split, tuple[str, ...]] = {
    "train": ("train_9k.json", "msrvtt_train_9k.json", "train_7k.json", "msrvtt_train_7k.json"),
    "test": ("test_1k.json", "msrvtt_test_1k.json"),
}
RAW_FILES = ("MSRVTT_data.json", "train_val_videodatainfo.json", "test_videodatainfo.json")
FROZEN_CAPTIONS = ("annotation/MSR_VTT.json", "MSR_VTT.json")
FROZEN_LISTS = ("high-quality/structured-symlinks", "structured-symlinks")
# The cuts of Frozen in Time, the one that keeps 1k-A apart first; jsfusion calls its test clips "val".
FROZEN_CUTS = ("_list_jsfusion", "_list_full", "_list_miech", "_list", "")
ONE_SENTENCE = (
    "1k-A scores one sentence a clip, and which one this form keeps in a pickle, which is never opened: each clip's "
    "first caption is used; put MSRVTT_JSFUSION_test.csv beside it for the right ones"
)


@dataclass(frozen=True)
class Source:
    """Where a split is read from.

    form: what kind of files; files: which; read: their clips, of this split only, in their order
    note: what people should know of it; may be empty
    """

    form: str
    files: tuple[Path, ...]
    read: Callable[[], list[CaptionedClip]]
    note: str = ""

    def describe(self) -> str:
        """Return the files and their form in words, such as `train_9k.json (flat list)`."""
        return f"{' and '.join(file.name for file in self.files)} ({self.form})"


def find_source(dataset: Dataset, split: Split, *, skip_manifest: bool = False) -> Source | None:
    """Find the files of a split, after the order above; return None when there are none.

    Raises InvalidRequest when nothing is found and a file that might have been the one cannot be read.
    """
    manifest = dataset.annotations / MANIFEST_FILES[split]
    if manifest.is_file() and not skip_manifest:
        return Source("manifest", (manifest,), partial(read_manifest_file, manifest, split))
    unread: list[InvalidRequest] = []
    labels: tuple[Label, ...] = ("train",) if split == "train" else ("test", "validate")
    for label in labels:
        found = (
            _flat_list(dataset, label)
            or _csv_split(dataset, label)
            or _frozen_list(dataset, label)
            or _by_content(dataset, label, unread)
        )
        if found is not None:
            return found
    if unread:
        raise unread[0]
    return None


def _flat_list(dataset: Dataset, label: Label) -> Source | None:
    names = ANNOTATION_FILES[label] if label != "validate" else ()
    file = next((dataset.annotations / name for name in names if (dataset.annotations / name).is_file()), None)
    return Source("flat list", (file,), partial(read_rows, file, dataset.encoding)) if file else None


def _csv_split(dataset: Dataset, label: Label) -> Source | None:
    """9k before 7k, JSFusion's before another test list, then by name."""
    found = [path for path in _files(dataset, ".csv") if label_of_name(path.name) == label]
    wanted = ("9k", "7k") if label == "train" else ("jsfusion",)
    found.sort(key=lambda path: next((i for i, word in enumerate(wanted) if word in path.name.lower()), len(wanted)))
    return Source("CSV", (found[0],), partial(_with_captions, dataset, found[0])) if found else None


def _frozen_list(dataset: Dataset, label: Label) -> Source | None:
    """Of one cut both lists, so that they do not overlap: that of its training list."""
    folders = [root / name for root in (dataset.annotations, dataset.root) for name in FROZEN_LISTS]
    for folder in (folder for folder in folders if folder.is_dir()):
        for cut in FROZEN_CUTS:
            train, test, validate = (folder / f"{part}{cut}.txt" for part in ("train", "test", "val"))
            if not train.is_file():
                continue
            file = {"train": train, "test": test if test.is_file() else validate, "validate": validate}[label]
            if not file.is_file():
                return None
            note = ONE_SENTENCE if label == "test" and "jsfusion" in cut else ""
            return Source("Frozen in Time's list", (file,), partial(_with_captions, dataset, file), note)
    return None


def _by_content(dataset: Dataset, label: Label, unread: list[InvalidRequest]) -> Source | None:
    """The first file with clips of this part, as its rows say; where they do not, as its name does.

    unread: gets what was wrong with files that are none of the forms
    """
    for file in _caption_files(dataset):
        try:
            rows = read_rows(file, dataset.encoding)
        except InvalidRequest as error:
            unread.append(error)
            continue
        mine = [row for row in rows if _label(row, file) == label]
        if any(row.captions for row in mine):
            return Source("rows with captions", (file,), partial(list, mine))
    return None


def _label(row: CaptionedClip, file: Path) -> Label:
    return row.label or label_of_name(file.name) or "train"


def _with_captions(dataset: Dataset, listed_in: Path) -> list[CaptionedClip]:
    """The clips of a list; where it has ids only, with the captions of whatever file beside it has them."""
    read = read_rows if listed_in.suffix.lower() == ".csv" else read_ids
    clips = read(listed_in, dataset.encoding)
    if any(clip.captions for clip in clips):
        return clips
    unread: list[InvalidRequest] = []
    wanted = {clip.video_id for clip in clips}
    known: dict[str, CaptionedClip] = {}
    for file in _caption_files(dataset):
        try:
            rows = read_rows(file, dataset.encoding)
        except InvalidRequest as error:
            unread.append(error)
            continue
        known = {row.video_id: row for row in rows if row.video_id in wanted and row.captions} | known
    if not known:
        raise InvalidRequest(
            f"{listed_in} lists {len(clips)} clips, and no file beside it has their captions"
            + (f" ({unread[0].message})" if unread else ""),
            hint=f"put {RAW_FILES[0]} (or {FROZEN_CAPTIONS[0]}) into {dataset.annotations}",
        )
    return [replace(known.get(clip.video_id, clip), label=None) for clip in clips]


def _caption_files(dataset: Dataset) -> list[Path]:
    """Every file that may hold captions: MSR-VTT's own first, then Frozen in Time's, then the others by name."""
    raw = [dataset.annotations / name for name in RAW_FILES]
    frozen = [root / name for root in (dataset.annotations, dataset.root) for name in FROZEN_CAPTIONS]
    others = _files(dataset, ".json", ".jsonl", ".csv")
    return [file for file in dict.fromkeys([*raw, *frozen, *others]) if file.is_file()]


def _files(dataset: Dataset, *suffixes: str) -> list[Path]:
    if not dataset.annotations.is_dir():
        return []
    return [path for path in sorted(dataset.annotations.iterdir()) if _is_candidate(path, suffixes)]


def _is_candidate(path: Path, suffixes: Iterable[str]) -> bool:
    is_ours = path.name in MANIFEST_FILES.values()
    return path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".") and not is_ours
