"""The video files of a data set, and which of them an annotation means."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from t2v_core.data.annotations.annotation_rows import CaptionedClip
from t2v_core.disk.plain_text import escaped, is_utf8
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import CLIP_SUFFIXES, Dataset


@dataclass
class ClipFolder:
    """What lies in `videos/`, or in `videos/all/` as Frozen in Time's archive has it.

    files: by their names without suffix, in the order of their names
    doubled: names of files that are passed over for one with the same name and another suffix
    unreadable: names that are not UTF-8, with escapes; nothing that is written about them could be read back
    others: files with another suffix than those of clips, by their names without it
    """

    files: dict[str, Path] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name = {path.name: path for path in self.files.values()}
        self._composed = {composed(name): path for name, path in [*self._by_name.items(), *self.files.items()]}

    def find(self, clip: CaptionedClip) -> Path | None:
        """Return the file that the row names, else the one that is named after its id; letter for letter first.

        A Mac's archives write é as two characters, annotations mostly as one: the names are the same to the eye.
        """
        for name in filter(None, (clip.file, clip.video_id)):
            path = self._by_name.get(name) or (self.files.get(name) if name == clip.video_id else None)
            if path := path or self._composed.get(composed(name)):
                return path
        return None

    def not_taken(self, video_ids: list[str]) -> list[str]:
        """Return the files that would be those clips if their suffix were one of a clip's."""
        return [self.others[name] for name in video_ids if name in self.others]


def composed(name: str) -> str:
    """Return the name with each accented letter as one character (Unicode's form C)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def clip_folder(dataset: Dataset) -> ClipFolder:
    """Look through the videos of the data set. Raises InvalidRequest without a videos folder."""
    if not dataset.videos.is_dir():
        raise InvalidRequest(f"{dataset.videos} is missing", hint="put the clips there: video0.mp4, video1.mp4, …")
    found = _look_through(dataset.videos)
    if not found.files and (below := _look_through(dataset.videos / "all")).files:
        return below
    return found


def clip_files(dataset: Dataset) -> dict[str, Path]:
    """Return every video file of the data set by its name without suffix.

    Raises InvalidRequest without a videos folder.
    """
    return clip_folder(dataset).files


def _look_through(folder: Path) -> ClipFolder:
    files: dict[str, Path] = {}
    doubled, unreadable, others = [], [], {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in CLIP_SUFFIXES:
            others[path.stem] = path.name
        elif not is_utf8(path.name):
            unreadable.append(escaped(path.name))
        elif (known := files.get(path.stem)) is None:
            files[path.stem] = path
        else:
            first, second = sorted((known, path), key=lambda one: CLIP_SUFFIXES.index(one.suffix.lower()))
            files[path.stem] = first
            doubled.append(second.name)
    return ClipFolder(files, doubled, unreadable, others)
