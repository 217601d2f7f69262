"""Reading what data sets lie in a workspace: clips, captions, what was prepared, what was set aside. Workers read."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.errors import JobNotFound
from remote.replies.questions import LS
from t2v_core.disk.files import MANIFEST
from t2v_core.disk.plain_json import read_table
from t2v_core.workspace import CLIP_SUFFIXES, Dataset, Workspace

if TYPE_CHECKING:
    from remote.jobs.client import HostJobs

CAPTION_SUFFIXES = {".json", ".jsonl", ".csv", ".txt"}
# The manifest of 100,000 clips is 60 MB, which takes a second to read; then its shards have to tell.
SMALL_BYTES = 8_000_000
MOST_QUARANTINED = 2000
WORLD_FILE = "shapes.json"


@dataclass(frozen=True)
class Prepared:
    """One split of what preprocessing made. clips: None when that would take long to say"""

    split: str
    clips: int | None
    shards: int
    size_bytes: int


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


def data_sets_here(workspace: Workspace) -> tuple[DataSetView, ...]:
    """Return every folder in `data/` that is not hidden, by name."""
    folders = sorted(path for path in (workspace.root / "data").glob("*") if path.is_dir())
    return tuple(_data_set(workspace, Dataset(path)) for path in folders if not path.name.startswith("."))


def _data_set(workspace: Workspace, data: Dataset) -> DataSetView:
    return DataSetView(
        path=workspace.relative(data.root).as_posix(),
        clips=sum(1 for path in data.videos.glob("*") if path.suffix.lower() in CLIP_SUFFIXES),
        captions=tuple(sorted(path.name for path in data.annotations.glob("*") if path.suffix in CAPTION_SUFFIXES)),
        latents=_prepared(data.latents),
        text=_prepared(data.text_embeddings),
        set_aside=_set_aside(data.quarantine),
        is_world=(data.root / WORLD_FILE).is_file(),
    )


def _prepared(folder: Path) -> tuple[Prepared, ...]:
    parts = []
    for split in sorted(path for path in folder.glob("*") if (path / MANIFEST).is_file()):
        files = [path for path in split.glob("*.safetensors") if not path.name.startswith(".")]
        size = sum(path.stat().st_size for path in files)
        shards = sum(path.name.startswith("shard") for path in files)
        parts.append(Prepared(split.name, _clips_of(split / MANIFEST), shards, size))
    return tuple(sorted(parts, key=lambda part: part.split != "train"))


def _clips_of(manifest: Path) -> int | None:
    try:
        if manifest.stat().st_size > SMALL_BYTES:
            return None
        said: Mapping[str, Any] = read_table(manifest)
        return len(said["clips"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


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
