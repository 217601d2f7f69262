"""Which models lie on a machine: in the hub's cache, and as folders beside it; open ones, and what t2v exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from t2v_core.disk.plain_json import read_table
from t2v_core.errors import InvalidRequest
from t2v_core.models.open.families import family_of
from t2v_core.models.open.layout import INDEX, RECORD, missing_files, part_names
from t2v_core.models.open.licence import Licence, licence_of

OF_MODELS = "models--"
EXPORT_FORMAT, OWN, NOT_NAMED, WEIGHTS = "t2v-export", "t2v", "not named", ".safetensors"


@dataclass(frozen=True)
class Listed:
    """A model of a known family, or what t2v exported.

    id: as `--model` takes it; size_bytes: on the disk; missing: files, by their names
    """

    id: str
    folder: Path
    family: str
    licence: Licence
    size_bytes: int
    missing: tuple[str, ...]


def cached_models(cache: Path) -> list[Listed]:
    """List the models in the hub's cache, each in its newest revision."""
    found = (_listed(name.replace("--", "/"), folder) for name, folder in _revisions(cache))
    return sorted((one for one in found if one is not None), key=lambda one: one.id)


def models_in(folder: Path) -> list[Listed]:
    """List the models among a folder's own folders."""
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    found = (_listed(str(place), place) for place in places if place.is_dir())
    return [one for one in found if one is not None]


def _revisions(cache: Path) -> Iterator[tuple[str, Path]]:
    """`OWNER--NAME` and the folder of its newest revision: the one that `main` was, else the last that came."""
    for place in cache.glob(f"{OF_MODELS}*"):
        revisions = [path for path in place.glob("snapshots/*") if path.is_dir()]
        if not revisions:
            continue
        ref = place / "refs" / "main"
        named = place / "snapshots" / ref.read_text().strip() if ref.is_file() else None
        newest = named if named in revisions else max(revisions, key=lambda path: path.stat().st_mtime)
        yield place.name.removeprefix(OF_MODELS), newest


def _listed(name: str, folder: Path) -> Listed | None:
    """What a folder holds; None where it is neither a model of a known family nor exported by t2v."""
    try:
        kind = family_of(folder)
        missing = missing_files(folder, part_names(read_table(folder / INDEX)))
    except (InvalidRequest, OSError, ValueError):
        return _exported(name, folder)
    return Listed(name, folder, kind.name, licence_of(folder, kind.licence), _size_of(folder), tuple(missing))


def _exported(name: str, folder: Path) -> Listed | None:
    """What `t2v export` wrote and `t2v publish` shared: a model of t2v's own, or an adapter."""
    try:
        record = read_table(folder / RECORD)
    except (OSError, ValueError):
        return None
    if record.get("format") != EXPORT_FORMAT:
        return None
    what = str(record.get("family") or OWN)
    what = what if record.get("adapter") is None else f"LoRA of {what}"
    lacking = () if any(folder.rglob(f"*{WEIGHTS}")) else (f"every {WEIGHTS} file",)
    return Listed(name, folder, what, licence_of(folder, NOT_NAMED), _size_of(folder), lacking)


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
