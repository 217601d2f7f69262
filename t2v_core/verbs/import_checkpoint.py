"""`t2v import-checkpoint`: the previous system's `.pt` checkpoints become ours; the originals stay as they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from t2v_core.assemble import empty_denoiser
from t2v_core.checkpoints.checkpoints import EMA, MODEL, OPTIMIZER, TRAINER
from t2v_core.checkpoints.old_checkpoints import LostMoments, OldCheckpoint, moments_of, open_old_checkpoint, tensors_in
from t2v_core.checkpoints.old_names import FINAL, ORIGIN, epoch_in_name, old_files
from t2v_core.data.quarantine import file_state
from t2v_core.disk.files import (  # fmt: skip
    incompleteness,
    require_space,
    require_writable,
    staged_directory,
    sweep_staging,
    write_json,
)
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.tensor_file import write_tensors
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.events import CheckpointEvent
from t2v_core.events.results import CheckpointsImported
from t2v_core.format import counted, size
from t2v_core.job import Job
from t2v_core.processes.alone import CHECKPOINTS_LOCK, alone
from t2v_core.specs import ImportCheckpointSpec
from t2v_core.version import __version__

MB = 1e6


@dataclass(frozen=True)
class Wanted:
    """One file and the checkpoint that it becomes."""

    old: OldCheckpoint
    epoch: int
    target: Path

    @property
    def source(self) -> dict[str, Any]:
        """Return what tells whether a checkpoint was made from this very file."""
        size_bytes, mtime_ns = file_state(self.old.path)
        return {"file": self.old.path.name, "size_bytes": size_bytes, "mtime_ns": mtime_ns}

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all tensors that the import takes along."""
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors_in(self.old))


def import_checkpoint(spec: ImportCheckpointSpec, job: Job) -> CheckpointsImported:
    """Import a file, or every file of a folder, oldest first; what was imported already is not read again.

    Raises InvalidRequest for a file that cannot be used, a place that is taken, a folder without any, or one that
    another run writes into; WorkFailed when the disk is too small, or none of a folder can be used; Stopped between two
    pieces, with nothing half made.
    """
    source, folder = job.workspace.resolve(spec.old), job.workspace.resolve(spec.checkpoints)
    job.events.stage("look", str(source))
    with alone(folder, CHECKPOINTS_LOCK, job):
        return _imported(source, folder, spec, job)


def _imported(source: Path, folder: Path, spec: ImportCheckpointSpec, job: Job) -> CheckpointsImported:
    wanted = _wanted(source, folder, spec, job)
    require_writable(folder)
    sweep_staging(folder)
    todo = [one for one in wanted if not _is_imported(one)]
    require_space(folder, int(sum(one.size_bytes for one in todo) * 1.01) + 1_000_000 * len(todo), _counted(todo))
    ready = len(wanted) - len(todo)
    job.events.stage("import", f"{_counted(todo)}, {ready} already there" if ready else _counted(todo))
    refused = _all(todo, source.is_dir(), spec, job)
    made = [one.target for one in wanted if one.old.path.name not in refused]
    if not made:
        raise WorkFailed(f"none of {len(wanted)} checkpoints can be used; {next(iter(refused.values()))}")
    return CheckpointsImported(
        imported=len(todo) - len(refused),
        skipped=ready,
        refused=len(refused),
        paths=tuple(str(job.workspace.relative(path)) for path in made),
    )


def _all(todo: Sequence[Wanted], is_folder: bool, spec: ImportCheckpointSpec, job: Job) -> dict[str, str]:
    """Import them; of a folder's, those that cannot be used are said and passed over. Returns these, and why."""
    total = 2 * sum(one.size_bytes for one in todo)  # each byte is verified, then written
    done, refused = 0, {}

    def moved(size: int) -> None:
        nonlocal done
        done += size
        job.events.progress(round(done / MB), round(total / MB), "MB")
        job.check_stop()

    for number, one in enumerate(todo, start=1):
        begun = done
        try:
            _import(one, spec, job, moved)
        except InvalidRequest as error:
            if not is_folder:
                raise
            refused[one.old.path.name] = error.message
            job.events.warning(f"{error.message}; it is skipped", hint=error.hint)
        done = begun + 2 * one.size_bytes
        job.events.progress(round(done / MB), round(total / MB), "MB")
        if one.old.path.name not in refused:
            path, reason = str(job.workspace.relative(one.target)), f"imported, {number} of {len(todo)}"
            job.events.emit(CheckpointEvent(path, one.epoch, one.old.step, reason))
    return refused


def _wanted(source: Path, folder: Path, spec: ImportCheckpointSpec, job: Job) -> list[Wanted]:
    """The files that are meant, looked into, the oldest first. Raises InvalidRequest."""
    encoders = {"vae": spec.vae, "text_encoder": spec.text_encoder}
    if not source.is_dir():
        if not source.exists():
            raise InvalidRequest(f"there is no file {source}", hint="name a .pt of the previous system, or its folder")
        old = open_old_checkpoint(source, **encoders)
        epoch = spec.of_epoch or old.epoch
        if epoch is None:
            raise InvalidRequest(
                f"{source} does not record which epoch it is from",
                hint="say which: --of-epoch 100 (final_model.pt is the last)",
            )
        return [Wanted(old, epoch, folder / f"checkpoint_epoch_{epoch}")]
    if spec.of_epoch is not None:
        raise InvalidRequest(f"of_epoch is for one file, and {source} is a folder", hint="leave --of-epoch out")
    paths = old_files(source)
    if not paths:
        raise InvalidRequest(
            f"{source} holds no checkpoint of the previous system", hint=f"they are checkpoint_epoch_N.pt and {FINAL}"
        )
    numbered = [(path, epoch) for path in paths if (epoch := epoch_in_name(path)) is not None]
    if len(numbered) < len(paths):
        job.events.warning(
            f"{FINAL} is left out: it records no epoch and has no state of Adam",
            hint=f"if it is wanted: t2v import-checkpoint {source / FINAL} --of-epoch N",
        )
    wanted = []
    for path, epoch in numbered[-(spec.last or len(numbered)) :]:
        try:
            wanted.append(Wanted(open_old_checkpoint(path, **encoders), epoch, folder / f"checkpoint_epoch_{epoch}"))
        except InvalidRequest as error:
            job.events.warning(f"{error.message}; it is skipped", hint=error.hint)
    if not wanted:
        raise InvalidRequest(f"no file of {source} can be used", hint="the reasons are listed above")
    return wanted


def _is_imported(one: Wanted) -> bool:
    """It is there, from this very file. Raises InvalidRequest when another checkpoint has its name."""
    if not one.target.exists():
        return False
    is_whole = incompleteness(one.target) is None and (one.target / TRAINER).is_file()
    if is_whole and read_table(one.target / TRAINER).get("imported") == one.source:
        return True
    raise InvalidRequest(
        f"{one.target} already exists, and is not from {one.old.path.name}",
        hint="name another folder for the new ones",
    )


def _import(one: Wanted, spec: ImportCheckpointSpec, job: Job, moved: Callable[[int], None]) -> None:
    weights = one.old.lying(MODEL)
    empty_denoiser(one.old.info["model"], weights, str(one.old.path))
    files: dict[str, Mapping[str, Tensor]] = {MODEL: weights}
    try:
        files[OPTIMIZER] = moments_of(one.old.adam, one.old.stored)
    except LostMoments as why:
        job.events.warning(
            f"{one.target.name} comes without Adam's state: {why}", hint="it can be generated from, not trained on"
        )
    source = one.source
    for tensors in files.values():
        one.old.verify(tensors, moved)
    if one.source != source:
        raise InvalidRequest(f"{one.old.path} was written to meanwhile", hint="import it again once it is complete")
    checksums: dict[str, str] = {}
    with staged_directory(one.target, sha256_of=checksums) as partial:
        for name, tensors in files.items():
            checksums[name] = write_tensors(partial / name, tensors, moved)
        # There were no averaged weights: they begin as the weights, which need no second place on the disk.
        _same_file(partial / MODEL, partial / EMA)
        checksums[EMA] = checksums[MODEL]
        write_json(partial / TRAINER, _info(one, spec, source))


def _same_file(file: Path, other: Path) -> None:
    try:
        os.link(file, other)
    except OSError:  # not every file system can
        shutil.copyfile(file, other)


def _info(one: Wanted, spec: ImportCheckpointSpec, source: dict[str, Any]) -> dict[str, Any]:
    info = one.old.info
    steps_per_epoch = max(1, round(info["step"] / one.epoch))
    asked = {"data": str(spec.data), "checkpoints": str(spec.checkpoints)}
    return info | {
        "epoch": one.epoch,
        "steps_per_epoch": steps_per_epoch,
        "spec": info["spec"] | asked,
        "imported": source,
        "versions": {"t2v": __version__, "torch": torch.__version__},
    }


def _counted(todo: Sequence[Wanted]) -> str:
    total_bytes = sum(one.size_bytes for one in todo)
    return f"{counted(len(todo), 'checkpoint')} of the {ORIGIN}, {size(total_bytes)}"
