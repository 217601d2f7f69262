"""Files that a pull need not bring: their bytes are here already under another name, as of a checkpoint renamed there.

A checkpoint's manifest names the sha256 of each file, so nothing large is read to find them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

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
