"""Which workspace made what lies in a folder that several share: results name their job, and a job its workspace."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..base.files import Json, read_json
from ..base.keys import JOB_ID
from ..base.whose import Asker, anothers


def is_shared(root: Path) -> bool:
    """Return True when more than one workspace was here; else nothing need be looked at."""
    try:
        return sum(1 for _ in (root / ".t2v" / "workspaces").iterdir()) > 1
    except OSError:
        return False


def without_others(root: Path, units: list[Json], by: Asker) -> tuple[list[Json], list[Json]]:
    """Return what is the asker's own, or nobody's; and, as `skipped` has it, what another workspace made."""
    if not by.id or not is_shared(root):
        return units, []
    known: dict[str, str] = {}
    own, others = [], []
    for unit in units:
        job = job_of(root, unit)
        if job not in known:
            said = read_json(root / "jobs" / job / "request.json") if job else None
            known[job] = anothers((said or {}).get("by"), by)
        if known[job]:
            others.append({"path": unit["path"], "why": f"it was made from {known[job]}; t2v pull --anyones takes it"})
        else:
            own.append(unit)
    return own, others


def job_of(root: Path, unit: Json) -> str:
    """Return the job that made it, as it says itself or what lies beside it; "" when nothing says so."""
    path = PurePosixPath(unit["path"])
    if path.parts[:1] == ("jobs",) and len(path.parts) > 2:
        return path.parts[1] if JOB_ID.fullmatch(path.parts[1]) else ""
    if unit["kind"] == "sealed":
        said = [path / "trainer.json"]
    elif path.suffix == ".json":
        said = [path]
    else:
        said = [PurePosixPath(f"{path}.json"), path.with_suffix(".json")]
    for one in said:
        job = (read_json(root / one) or {}).get("job")
        if isinstance(job, str) and JOB_ID.fullmatch(job):
            return job
    return ""
