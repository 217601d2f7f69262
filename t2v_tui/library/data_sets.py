"""Reading what data sets lie in a workspace: clips, captions, what was prepared, what was set aside. Workers read."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.errors import JobNotFound
from remote.replies.questions import LS
from t2v_core.disk.files import MANIFEST
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.typed_json import read_as
from t2v_core.workspace import CLIP_SUFFIXES, Dataset, Workspace
from t2v_tui.library.folders import once, read_folder, stamp_of

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs

CAPTION_SUFFIXES = {".json", ".jsonl", ".csv", ".txt"}
# The manifest of 100,000 clips is 60 MB, which takes a second to read; then its shards have to tell.
SMALL_BYTES = 8_000_000
MOST_QUARANTINED = 2000
WORLD_FILE = "shapes.json"


@dataclass(frozen=True)
class Prepared:
    """One split of what preprocessing made.

    clips: None when that would take long to say
    buckets: how many clips are in which, where the set has several, such as ("832x480x81", 12)
    """

    split: str
    clips: int | None
    shards: int
    size_bytes: int
    buckets: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class SetAside:
    """One line of quarantine.csv."""

    clip: str
    reason: str
    detail: str


@dataclass(frozen=True)
class DataSetView:
    """One folder of `data/`.

    path:     relative to the workspace
    captions: files in annotations/
    is_world: it is the built-in one
    """

    path: str
    clips: int = 0
    captions: tuple[str, ...] = ()
    latents: tuple[Prepared, ...] = ()
    text: tuple[Prepared, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    is_world: bool = False

    @property
    def name(self) -> str:
        """Return the path below `data/`."""
        return self.path.removeprefix("data/")

    @property
    def is_prepared(self) -> bool:
        """Return True when latents and text embeddings of the train split are there."""
        return any(part.split == "train" for part in self.latents) and any(part.split == "train" for part in self.text)

    @property
    def is_whole(self) -> bool:
        """Return True when clips and captions are there."""
        return bool(self.clips and self.captions)

    @property
    def needs(self) -> str:
        """Return what is missing before training can read it; empty when nothing is."""
        if not self.clips and not self.is_prepared:
            return "no clips in videos/"
        if not self.captions and not self.is_prepared:
            return "no captions in annotations/"
        return "" if self.is_prepared else "not prepared: p does it"


def data_sets_here(workspace: Workspace, *, trusted_s: float = 0.0) -> tuple[DataSetView, ...]:
    """Return every folder in `data/` that is not hidden, by name; what did not change is not read again.

    trusted_s: see `read_folder`
    """
    top = workspace.root / "data"
    names = [name for name in read_folder(str(top)).folders if not name.startswith(".")]
    return tuple(_data_set(workspace, Dataset(top / name), trusted_s) for name in names)


def data_set_here(workspace: Workspace, root: Path) -> DataSetView:
    """Return one data set, wherever it lies; one that is not there is empty."""
    return _data_set(workspace, Dataset(root), 0.0)


def _data_set(workspace: Workspace, data: Dataset, trusted_s: float) -> DataSetView:
    videos, aside = str(data.videos), str(data.quarantine)
    captions = read_folder(str(data.annotations)).files
    return DataSetView(
        path=workspace.relative(data.root).as_posix(),
        clips=once("clips", videos, stamp_of(videos), lambda: _clips_in(videos)),
        captions=tuple(sorted(name for name in captions if Path(name).suffix in CAPTION_SUFFIXES)),
        latents=_prepared(str(data.latents), trusted_s),
        text=_prepared(str(data.text_embeddings), trusted_s),
        set_aside=once("set aside", aside, stamp_of(aside), lambda: _set_aside(data.quarantine)),
        is_world=(data.root / WORLD_FILE).is_file(),
    )


def _clips_in(videos: str) -> int:
    try:
        with os.scandir(videos) as entries:
            return sum(Path(entry.name).suffix.lower() in CLIP_SUFFIXES for entry in entries)
    except OSError:
        return 0


def _prepared(folder: str, trusted_s: float) -> tuple[Prepared, ...]:
    parts = []
    for name in read_folder(folder).folders:
        files = read_folder(f"{folder}/{name}", trusted_s=trusted_s).files
        if MANIFEST not in files:
            continue
        sizes = {
            one: stamp[0] for one, stamp in files.items() if one.endswith(".safetensors") and not one.startswith(".")
        }
        shards = sum(one.startswith("shard") for one in sizes)
        manifest = f"{folder}/{name}/{MANIFEST}"
        clips, buckets = once("prepared", manifest, files[MANIFEST], partial(_clips_of, Path(manifest)))
        parts.append(Prepared(name, clips, shards, sum(sizes.values()), buckets))
    return tuple(sorted(parts, key=lambda part: part.split != "train"))


@dataclass(frozen=True)
class _Listed:
    """A manifest of latents, as far as it is shown here. buckets: clips of each shape, by its name"""

    clips: tuple[Mapping[str, Any], ...]
    buckets: Mapping[str, Any] = field(default_factory=dict)


def _clips_of(manifest: Path) -> tuple[int | None, tuple[tuple[str, int], ...]]:
    try:
        if manifest.stat().st_size > SMALL_BYTES:
            return None, ()
        said = read_as(_Listed, read_table(manifest))
        return len(said.clips), tuple((name, int(count)) for name, count in said.buckets.items())
    except (OSError, ValueError, TypeError):
        return None, ()


def _set_aside(file: Path) -> tuple[SetAside, ...]:
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as lines:
            rows = list(csv.DictReader(lines))[:MOST_QUARANTINED]
    except OSError:
        return ()
    return tuple(SetAside(str(row.get("id")), str(row.get("reason")), str(row.get("detail"))) for row in rows)


def data_sets_there(jobs: HostJobs) -> tuple[str, ...]:
    """Return the host's data sets, each with the folders it has: `shapes (latents, videos)`. Raises EngineError."""
    try:
        entries = jobs.ask(LS, path="data", depth=2).entries
    except JobNotFound:
        return ()
    inside: dict[str, list[str]] = {}
    for entry in entries:
        name, _, child = entry.path.partition("/")
        if entry.kind == "folder" and not name.startswith("."):
            inside.setdefault(name, []).extend([child] if child else [])
    return tuple(f"{name} ({', '.join(children) or 'empty'})" for name, children in sorted(inside.items()))
