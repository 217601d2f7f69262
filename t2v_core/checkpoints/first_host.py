"""Which checkpoint a run on several machines goes on from: the first one's, which the others are sent.

Checkpoints are written by the first process, to the disk of its machine. The others need one only to begin, and
whatever lies in their own `checkpoints/` may be of another run. So each begins with an empty folder in its job's
directory, into which the first machine's checkpoint comes straight from there; where all see one folder, they read it
in place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from t2v_core.checkpoints.checkpoints import Checkpoint, list_checkpoints
from t2v_core.disk.files import MANIFEST, require_space, sha256
from t2v_core.format import counted, size
from t2v_core.job import Job
from t2v_core.processes.process_group import ProcessGroup, joined
from t2v_core.processes.sent_files import SentFile, files_below, receive, send

OWN_FOLDER = "checkpoints"


def folder_of_run(folder: Path, job: Job, newest: Callable[[], Checkpoint | None]) -> tuple[Path, bool]:
    """Return the folder to look for the run's checkpoint in, and whether there is one to go on from.

    newest: asked on the first machine alone: which one the run goes on from, None for a run that begins
    Every process of the run calls it. Raises what `newest` raises, in all of them.
    """
    with joined(job) as group:
        if group.is_first:
            return folder, _offer(group, folder, newest())
        said = group.published("checkpoint")
        machine = os.environ.get("GROUP_RANK", "0")
        if machine == "0":  # on the first machine its folder is theirs
            return folder, bool(said)
        if group.local_rank == 0:
            group.publish(f"folder/{machine}", str(_folder_here(group, folder, job, said)))
        return Path(group.published(f"folder/{machine}")), bool(said)


def forget_copy(folder: Path, job: Job) -> None:
    """Remove what was sent here, once it has been read."""
    if folder == job.directory / OWN_FOLDER and os.environ.get("LOCAL_RANK") == "0":
        shutil.rmtree(folder, ignore_errors=True)


def _offer(group: ProcessGroup, folder: Path, checkpoint: Checkpoint | None) -> bool:
    """Say which one it is, and send it to those that want it."""
    if checkpoint is None:
        group.publish("checkpoint", None)
        return False
    path = checkpoint.path
    files = files_below(folder, path)
    stamp = _stamp(path)
    group.publish("checkpoint", {"name": path.name, "stamp": stamp, "files": [asdict(one) for one in files]})
    machines = int(os.environ["GROUP_WORLD_SIZE"])
    wishes = [group.published(f"wish/{machine}") for machine in range(1, machines)]
    if takers := sum(wishes):
        whole = size(sum(one.size_bytes for one in files))
        group.job.events.stage("checkpoint", f"{path.name}, {whole}, goes to {counted(takers, 'other host')}")
        send(group, folder, files, takers)
    return True


def _folder_here(group: ProcessGroup, folder: Path, job: Job, said: dict[str, object] | None) -> Path:
    """Where this machine finds it: in the shared folder, or in one of the job's own, into which it comes."""
    own = job.directory / OWN_FOLDER
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    machine = os.environ["GROUP_RANK"]
    if said is None:
        return own
    is_shared = _is_newest_here(folder, str(said["name"]), str(said["stamp"]))
    group.publish(f"wish/{machine}", not is_shared)
    if is_shared:
        own.rmdir()
        return folder
    files = [SentFile(**one) for one in said["files"]]  # type: ignore[attr-defined]
    require_space(own, sum(one.size_bytes for one in files), f"checkpoint {said['name']}")
    receive(group, own, files)
    return own


def _is_newest_here(folder: Path, name: str, stamp: str) -> bool:
    found = list_checkpoints(folder) if folder.is_dir() else []
    return bool(found) and found[-1].path.name == name and _stamp(found[-1].path) == stamp


def _stamp(path: Path) -> str:
    """What tells a checkpoint from any other: its manifest holds the sha256 of each file."""
    manifest = path / MANIFEST
    return sha256(manifest) if manifest.is_file() else ""
