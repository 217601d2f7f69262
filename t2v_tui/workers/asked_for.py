"""What jobs were asked for, kept here once it was read: a queue names its jobs with their host off."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from t2v_core.disk.files import write_json
from t2v_core.disk.private import make_folder
from t2v_core.errors import EngineError
from t2v_tui.library.local import read_json
from t2v_tui.library.on_host import read_there
from t2v_tui.store.state import JobKey

if TYPE_CHECKING:
    from t2v_core.workspace import Workspace
    from t2v_tui.workers.services import Services


def spec_of(services: Services, job: JobKey) -> Mapping[str, Any]:
    """Return a job's spec, from here or from its host. Raises EngineError when nobody can say."""
    kept = _kept(services.workspace, job)
    if said := read_json(kept):
        return said
    said = read_there(services.jobs(job.host), f"jobs/{job.job}/spec.json")
    if said and services.folder_of(job.host) is None:
        with suppress(OSError, EngineError):  # a disk that takes no more costs the memory and nothing else
            make_folder(kept.parent)
            write_json(kept, said)
    return said


def kept_spec_of(services: Services, job: JobKey) -> Mapping[str, Any]:
    """Return a job's spec if it lies on this machine, whoever asked for it; else nothing. Its host is not asked."""
    folder = services.folder_of(job.host)
    return read_json(folder / "jobs" / job.job / "spec.json" if folder else _kept(services.workspace, job)) or {}


def _kept(workspace: Workspace, job: JobKey) -> Path:
    return workspace.root / ".t2v" / "tui" / "asked" / quote(job.host, safe="") / f"{quote(job.job, safe='')}.json"
