"""What an agent says of files and folders there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from t2v_core.disk.typed_json import ShownText, UnixTime


@dataclass(frozen=True)
class Entry:
    """One name below a folder.

    path:        below the folder that was asked for
    kind:        folder, link or file
    is_complete: by its manifest; None for what is not meant to have one
    """

    path: str
    kind: str
    size_bytes: int
    mtime: UnixTime
    is_complete: bool | None


@dataclass(frozen=True)
class Entries:
    """The names below a folder, as deep as was asked for."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class FolderEntry:
    """One thing in a folder, as its user knows it.

    form:       folder, file, link or other
    detail:     what it says of itself
    size_bytes: with all below it
    files:      so many below it
    is_counted: False: at least so much
    why:        it cannot be looked into
    target:     of a link
    """

    name: str
    form: str
    kind: str
    detail: str
    size_bytes: int
    files: int
    is_counted: bool
    mtime: UnixTime
    why: str
    target: str | None


@dataclass(frozen=True)
class FolderListing:
    """What lies in a folder, or the one file of that name.

    path:     as it is called there, in full
    is_whole: False when more lies there than is listed; count: so much in all
    """

    path: str
    entries: tuple[FolderEntry, ...]
    is_whole: bool
    count: int


@dataclass(frozen=True)
class FileBytes:
    """The beginning of a file, a megabyte at most; all of a small one."""

    data: bytes


@dataclass(frozen=True)
class FilePreview:
    """A video as a few small frames: a line of JSON, then pixels, as t2v_core.data.video.preview writes them.

    data: compressed with zlib
    """

    data: bytes


@dataclass(frozen=True)
class OldCheckpoint:
    """A `.pt` of the previous system.

    why:   it can be told by its name only
    model: what kind it holds; empty when that cannot be told
    """

    path: str
    size_bytes: int
    mtime: UnixTime
    epoch: float | None
    loss: float | None
    why: str
    model: str | None


@dataclass(frozen=True)
class OldCheckpoints:
    """Those of a folder, and of the folders in it."""

    entries: tuple[OldCheckpoint, ...]


@dataclass(frozen=True)
class OldFolder:
    """A folder of the previous system's `.pt` files. newest_t: of the newest; is_counted: False: at least so much"""

    files: int
    size_bytes: int
    newest_t: UnixTime
    is_counted: bool


@dataclass(frozen=True)
class OldFolders:
    """Those of a data set that are there; false when none is."""

    latents: OldFolder | None = None
    text_embeddings: OldFolder | None = None

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def __iter__(self) -> Iterator[tuple[Literal["latents", "text embeddings"], OldFolder]]:
        if self.latents is not None:
            yield "latents", self.latents
        if self.text_embeddings is not None:
            yield "text embeddings", self.text_embeddings


@dataclass(frozen=True)
class OldData:
    """What the previous system left in a data set."""

    found: OldFolders


@dataclass(frozen=True)
class OpenModelEntry:
    """An open model that a machine has.

    source:     as it is asked for: a hub id, or a folder of the workspace
    family:     the class of its pipeline, as its model_index.json says
    size_bytes: on the disk; is_whole: False when files are missing, as after a download that broke off
    """

    source: ShownText
    family: ShownText
    size_bytes: int
    is_whole: bool


@dataclass(frozen=True)
class OpenModels:
    """Those in `models/` of the workspace and in the hub's cache."""

    models: tuple[OpenModelEntry, ...]


@dataclass(frozen=True)
class Removed:
    """The paths that are gone now, as they were asked for."""

    removed: tuple[str, ...] = ()
