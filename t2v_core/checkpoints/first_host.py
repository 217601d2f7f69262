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
from dataclasses import asdict, dataclass
from pathlib import Path

from t2v_core.checkpoints.checkpoints import Checkpoint, list_checkpoints
from t2v_core.disk.files import MANIFEST, require_space, sha256
from t2v_core.disk.typed_json import read_as
from t2v_core.format import counted, size
from t2v_core.job import Job
from t2v_core.processes.process_group import ProcessGroup, joined
from t2v_core.processes.sent_files import SentFile, files_below, receive, send

OWN_FOLDER = "checkpoints"


@dataclass(frozen=True)
class Offered:
    """The checkpoint that a run goes on from, as the first machine tells the others."""

    name: str
    stamp: str
    files: tuple[SentFile, ...]


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
            offered = None if said is None else read_as(Offered, said)
            group.publish(f"folder/{machine}", str(_folder_here(group, folder, job, offered)))
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
    group.publish("checkpoint", asdict(Offered(path.name, _stamp(path), tuple(files))))
    machines = int(os.environ["GROUP_WORLD_SIZE"])
    wishes = [group.published(f"wish/{machine}") for machine in range(1, machines)]
    if takers := sum(wishes):
        whole = size(sum(one.size_bytes for one in files))
        group.job.events.stage("checkpoint", f"{path.name}, {whole}, goes to {counted(takers, 'other host')}")
        send(group, folder, files, takers)
    return True


def _folder_here(group: ProcessGroup, folder: Path, job: Job, offered: Offered | None) -> Path:
    """Where this machine finds it: in the shared folder, or in one of the job's own, into which it comes."""
    own = job.directory / OWN_FOLDER
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    machine = os.environ["GROUP_RANK"]
    if offered is None:
        return own
    is_shared = _is_newest_here(folder, offered.name, offered.stamp)
    group.publish(f"wish/{machine}", not is_shared)
    if is_shared:
        own.rmdir()
        return folder
    require_space(own, sum(one.size_bytes for one in offered.files), f"checkpoint {offered.name}")
    receive(group, own, list(offered.files))
    return own


def _is_newest_here(folder: Path, name: str, stamp: str) -> bool:
    found = list_checkpoints(folder) if folder.is_dir() else []
    return bool(found) and found[-1].path.name == name and _stamp(found[-1].path) == stamp


def _stamp(path: Path) -> str:
    """What tells a checkpoint from any other: its manifest holds the sha256 of each file."""
    manifest = path / MANIFEST
    return sha256(manifest) if manifest.is_file() else ""
