"""Where things lie in a workspace."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from t2v_core.disk.private import PRIVATE, make_private

SETTINGS_FILE = "t2v.toml"


def expanded(path: Path) -> Path:
    """Expand `~` and `~somebody` to home folders; where nobody is called that, the path stays, as in a shell."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's own raises RuntimeError


def followed(path: Path) -> Path:
    """Return the same, absolute and with every link followed, as far as they lead somewhere."""
    return Path(os.path.realpath(expanded(path)))


@dataclass(frozen=True)
class Workspace:
    """A folder with `t2v.toml`, `data/`, `checkpoints/`, `outputs/` and `jobs/`.

    root: absolute
    """

    root: Path

    @property
    def settings_file(self) -> Path:
        """Return the path of `t2v.toml`, which need not be there."""
        return self.root / SETTINGS_FILE

    @property
    def checkpoints(self) -> Path:
        """Return `checkpoints/` of this workspace."""
        return self.root / "checkpoints"

    @property
    def outputs(self) -> Path:
        """Return `outputs/` of this workspace."""
        return self.root / "outputs"

    @property
    def jobs(self) -> Path:
        """Return `jobs/`, which holds a directory for each job."""
        return self.root / "jobs"

    def resolve(self, path: Path) -> Path:
        """Return `path` as it is meant here: absolute, or relative to the root; `~` is the home folder."""
        return self.root / expanded(path)

    def relative(self, path: Path) -> Path:
        """Return `path` as people of this workspace would say it: relative to the root when it lies inside."""
        return path.relative_to(self.root) if path.is_relative_to(self.root) else path

    @classmethod
    def of_job(cls, job_directory: Path) -> Workspace:
        """Return the workspace whose `jobs/` holds this job directory."""
        return cls(followed(job_directory).parent.parent)

    @classmethod
    def find(cls, start: Path) -> Workspace:
        """Find the nearest folder at or above `start` with a `t2v.toml`; `start` itself when there is none."""
        start = followed(start)
        for folder in (start, *start.parents):
            if (folder / SETTINGS_FILE).is_file():
                return cls(folder)
        return cls(start)


# Files of `videos/` that are taken for clips; of two that differ in their suffix alone, the one that comes first here.
CLIP_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".f4v", ".ts", ".mts",
    ".m2ts", ".vob", ".3gp", ".3g2", ".ogv", ".divx", ".mxf", ".gif",
)  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """A folder in MSR-VTT's layout: clips and captions, and what preprocessing made of them.

    encoding: of annotation files that are neither UTF-8 nor marked as something else
    """

    root: Path
    encoding: str | None = None

    @property
    def videos(self) -> Path:
        """Return `videos/`, where the clips lie."""
        return self.root / "videos"

    @property
    def annotations(self) -> Path:
        """Return `annotations/`, where the captions lie."""
        return self.root / "annotations"

    @property
    def latents(self) -> Path:
        """Return `latents/`, which holds a folder for each split."""
        return self.root / "latents"

    @property
    def text_embeddings(self) -> Path:
        """Return `text_embeddings/`, which holds a folder for each split."""
        return self.root / "text_embeddings"

    @property
    def quarantine(self) -> Path:
        """Return `quarantine.csv`, which lists the clips that could not be used."""
        return self.root / "quarantine.csv"


def new_job_id(verb: str) -> str:
    """Return an id that sorts by time and says what it is: `20261122-181501-train-3f2a`."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{verb}-{secrets.token_hex(2)}"


def create_job_directory(workspace: Workspace, verb: str) -> Path:
    """Make `jobs/<id>/` and return it; two callers in the same second get different ones. Raises OSError."""
    make_private(workspace.jobs)
    while True:
        directory = workspace.jobs / new_job_id(verb)
        try:
            directory.mkdir(mode=PRIVATE)
        except FileExistsError:
            continue
        return directory
