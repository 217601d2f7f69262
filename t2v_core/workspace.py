"""Where things lie in a workspace."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

SETTINGS_FILE = "t2v.toml"


@dataclass(frozen=True)
class Workspace:
    """A folder with `t2v.toml`, `data/`, `checkpoints/`, `outputs/` and `jobs/`.

    root: absolute
    """

    root: Path

    @property
    def settings_file(self) -> Path:
        return self.root / SETTINGS_FILE

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    def resolve(self, path: Path) -> Path:
        """`path` as it is meant here: absolute, or relative to the root; `~` is the home folder."""
        return self.root / path.expanduser()

    def relative(self, path: Path) -> Path:
        """`path` as people of this workspace would say it: relative to the root when it lies inside."""
        return path.relative_to(self.root) if path.is_relative_to(self.root) else path

    @classmethod
    def of_job(cls, job_directory: Path) -> Workspace:
        """The workspace whose `jobs/` holds this job directory."""
        return cls(job_directory.resolve().parent.parent)

    @classmethod
    def find(cls, start: Path) -> Workspace:
        """The nearest folder at or above `start` with a `t2v.toml`; `start` itself when there is none."""
        start = start.resolve()
        for folder in (start, *start.parents):
            if (folder / SETTINGS_FILE).is_file():
                return cls(folder)
        return cls(start)


@dataclass(frozen=True)
class Dataset:
    """A folder in MSR-VTT's layout: clips and captions, and what preprocessing made of them."""

    root: Path

    @property
    def videos(self) -> Path:
        return self.root / "videos"

    @property
    def annotations(self) -> Path:
        return self.root / "annotations"

    @property
    def latents(self) -> Path:
        return self.root / "latents"

    @property
    def text_embeddings(self) -> Path:
        return self.root / "text_embeddings"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine.csv"


def new_job_id(verb: str) -> str:
    """Ids sort by time and say what they are: `20261122-181501-train-3f2a`."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{verb}-{secrets.token_hex(2)}"


def create_job_directory(workspace: Workspace, verb: str) -> Path:
    """Make `jobs/<id>/` and return it; two callers in the same second get different ones."""
    while True:
        directory = workspace.jobs / new_job_id(verb)
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            continue
        return directory
