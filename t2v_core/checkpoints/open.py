"""Opening a checkpoint, whoever wrote it: ours, the previous system's, or the one that is shipped."""

from __future__ import annotations

from pathlib import Path

from t2v_core import embedded
from t2v_core.checkpoints.checkpoints import TRAINER, Checkpoint, read_checkpoint
from t2v_core.checkpoints.exported import is_exported, open_exported
from t2v_core.checkpoints.old_checkpoints import open_old_checkpoint
from t2v_core.disk.files import incompleteness
from t2v_core.errors import InvalidRequest


def open_checkpoint(path: Path) -> Checkpoint:
    """Open one checkpoint: a folder of ours, also one of `t2v export`, a `.pt` of the previous system, or by its name a
    model that is shipped.

    Raises InvalidRequest when it is not complete, or a later t2v wrote it.
    """
    if path.name in embedded.MODELS and not path.is_dir():
        path = embedded.MODELS[path.name]
    if path.is_file():
        return open_old_checkpoint(path)
    if not path.is_dir():
        beside = path.with_name(f"{path.name}.pt")
        instead = "name a checkpoint folder or a .pt of the previous system"
        if beside.is_file():
            instead = f"there is {beside.name}, of the previous system"
        raise InvalidRequest(f"there is no checkpoint at {path}", hint=f"{instead}, or leave --checkpoint out")
    if is_exported(path):
        return open_exported(path)
    reason = incompleteness(path)
    if reason:
        raise InvalidRequest(f"checkpoint {path} is not complete: {reason}", hint="use another checkpoint")
    try:
        checkpoint = read_checkpoint(path)
    except (OSError, ValueError) as error:
        raise InvalidRequest(
            f"checkpoint {path} is damaged: {TRAINER} cannot be read", "use another checkpoint"
        ) from error
    checkpoint.require_known_format()
    return checkpoint
