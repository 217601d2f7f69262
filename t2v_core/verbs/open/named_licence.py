"""A licence that is not an open one is said before a model's first use in a workspace."""

from __future__ import annotations

import hashlib
from pathlib import Path

from t2v_core.disk.private import OWN, make_folder
from t2v_core.job import Job
from t2v_core.models.open.licence import Licence
from t2v_core.workspace import Workspace


def name_licence(licence: Licence, asked: str, job: Job) -> None:
    """Say it, once in each workspace. asked: the model, as it was named"""
    if licence.is_open:
        return
    told = _told(job.workspace, asked, licence)
    if told.exists():
        return
    job.events.warning(
        f"{asked} is not free for every use: its licence is {licence.name}",
        hint=f"read it first: {licence.link or f'https://huggingface.co/{asked}'}; this is said once in a workspace",
    )
    make_folder(told.parent)
    told.touch()


def _told(workspace: Workspace, asked: str, licence: Licence) -> Path:
    name = hashlib.sha256(f"{asked}\n{licence.name}".encode()).hexdigest()[:16]
    return workspace.root / OWN / "licences" / name
