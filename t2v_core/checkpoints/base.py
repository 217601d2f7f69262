"""The checkpoint that an adapter's checkpoint lies beside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from t2v_core import embedded
from t2v_core.checkpoints.checkpoints import EMA, Checkpoint
from t2v_core.checkpoints.exported import WEIGHTS, ExportedCheckpoint
from t2v_core.checkpoints.open import open_checkpoint
from t2v_core.disk.files import MANIFEST, read_json, sha256
from t2v_core.errors import InvalidRequest


def stamp_of(checkpoint: Checkpoint) -> str:
    """Return what the averaged weights of a checkpoint are, in a hash."""
    if checkpoint.path.is_file():
        return sha256(checkpoint.path)
    if isinstance(checkpoint, ExportedCheckpoint):
        return sha256(checkpoint.path / WEIGHTS)
    return str(read_json(checkpoint.path / MANIFEST)["files"][EMA]["sha256"])


def base_of(adapter: Checkpoint) -> Checkpoint:
    """Open the checkpoint whose weights an adapter was trained beside.

    A path is relative to a workspace, here or where it was trained. Raises InvalidRequest when it is not there, or is
    another one by now.
    """
    base = adapter.info.get("base")
    said = base if isinstance(base, dict) else {}
    where = str(said.get("checkpoint", ""))
    for place in _places(where, adapter.path) if where else ():
        if place.name in embedded.MODELS or place.exists():
            found = open_checkpoint(place)
            if stamp_of(found) == said.get("sha256"):
                return found
    raise InvalidRequest(
        f"{adapter.path} is an adapter, and the model that it lies beside is not here: {where or 'it names none'}",
        hint=f"bring that one here, and name both: --checkpoint MODEL --lora {adapter.path}",
    )


def _places(where: str, adapter: Path) -> Iterator[Path]:
    if where in embedded.MODELS:
        yield Path(where)
        return
    for folder in adapter.absolute().parents:
        yield folder / where
