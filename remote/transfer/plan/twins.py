"""Files that a pull need not bring: their bytes are here already under another name, as of a checkpoint renamed there.

A checkpoint's manifest names the sha256 of each file, so nothing large is read to find them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from remote.agent.transfer.parts import READ_BYTES, Part
from remote.replies.transfer import FarFile
from remote.transfer.plan.offered import CHECKPOINTS, Unit
from remote.transfer.ranges import SMALL_BYTES
from t2v_core.disk.files import MANIFEST, read_json
from t2v_core.workspace import Workspace

# checkpoints/RUN/checkpoint_epoch_5, and one folder more.
DEEPEST = 3
Twins = Mapping[str, Path]


def twins_of(units: Sequence[Unit], workspace: Workspace) -> list[Twins]:
    """Return for each unit which of its files are here under another name, or will be once an earlier unit has come."""
    if not any(_large(unit) for unit in units):
        return [{} for _ in units]
    known, found = known_here(workspace), list[Twins]()
    for unit in units:
        named = {key: workspace.root / unit.path / file.name for key, file in _large(unit).items()}
        found.append({file.name: known[key] for key, file in _large(unit).items() if key in known})
        known = named | known
    return found


def _large(unit: Unit) -> dict[tuple[str, int], FarFile]:
    """Its files of which a copy would do, by sha256 and size."""
    files = unit.files if unit.is_sealed else ()
    return {(file.sha256, file.size): file for file in files if file.sha256 is not None and file.size > SMALL_BYTES}


def known_here(workspace: Workspace) -> dict[tuple[str, int], Path]:
    """Return the large files of the checkpoints here, by sha256 and size."""
    known: dict[tuple[str, int], Path] = {}
    for manifest in _manifests(workspace.root / CHECKPOINTS, DEEPEST):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            for name, entry in read_json(manifest)["files"].items():
                path, size = manifest.parent / name, entry["size_bytes"]
                if size > SMALL_BYTES and path.stat().st_size == size:
                    known[str(entry["sha256"]), size] = path
    return known


def _manifests(folder: Path, depth: int) -> Iterator[Path]:
    with suppress(OSError):
        if (folder / MANIFEST).is_file():
            yield folder / MANIFEST
        elif depth:
            for path in sorted(folder.iterdir()):
                if path.is_dir() and not path.name.startswith("."):
                    yield from _manifests(path, depth - 1)


def copy_twin(twin: Path, part: Part, file: FarFile) -> bool:
    """Write the bytes of a file here into the part of one that is to come, as if they had come.

    Returns False, with nothing of it counted as there, when they are not those that its sha256 says, or cannot be read.
    Raises OSError when the disk does not take them.
    """
    digest, offset = hashlib.sha256(), 0
    part.open()
    for data in _pieces(twin):
        part.write(offset, data)
        digest.update(data)
        offset += len(data)
    if (offset, digest.hexdigest()) != (file.size, file.sha256):
        return False
    part.done(0, file.size)
    return True


def _pieces(path: Path) -> Iterator[bytes]:
    with suppress(OSError), path.open("rb") as source:
        while data := source.read(READ_BYTES):
            yield data
