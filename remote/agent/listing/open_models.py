"""Open models on this machine: folders in diffusers' layout, in the workspace's `models/` and in the hub's cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..base.asked import expanded, workspace
from ..base.files import Json, read_json

INDEX = "model_index.json"
MOST = 200
# What has weights; schedulers and tokenizers have none.
HEAVY = ("transformer", "unet", "vae", "text_encoder")


def models(parameters: Json) -> Json:
    """Return each open model: how it is asked for, its family's class, its bytes on the disk, whether it is whole."""
    root = workspace(parameters)
    found = [*_in_folder(root), *_in_cache(hub_cache())]
    return {"models": found[:MOST]}


def hub_cache() -> Path:
    """Return where huggingface_hub keeps what it fetched, by the variables that it reads."""
    own = os.environ.get("HF_HUB_CACHE")
    if own:
        return expanded(own)
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return expanded(home) / "hub"


def _in_folder(root: Path) -> Iterator[Json]:
    for index in sorted(root.glob(f"models/*/{INDEX}")):
        folder = index.parent
        size = sum(status.st_size for status in _statuses(folder))
        yield _row(str(folder.relative_to(root)), folder, size)


def _in_cache(cache: Path) -> Iterator[Json]:
    for kept in sorted(cache.glob("models--*--*")):
        snapshot = _newest(kept)
        if snapshot is None:
            continue
        source = kept.name[len("models--") :].replace("--", "/", 1)
        row = _row(source, snapshot, sum(status.st_size for status in _statuses(kept / "blobs")))
        is_coming = any((kept / "blobs").glob("*.incomplete"))
        yield {**row, "is_whole": row["is_whole"] and not is_coming}


def _newest(kept: Path) -> Path | None:
    """The snapshot that `main` names, else any that has an index."""
    with suppress(OSError):
        named = kept / "snapshots" / (kept / "refs" / "main").read_text().strip()
        if (named / INDEX).exists():
            return named
    return next((index.parent for index in sorted(kept.glob(f"snapshots/*/{INDEX}"))), None)


def _row(source: str, folder: Path, size: int) -> Json:
    index = read_json(folder / INDEX) or {}
    parts = [name for name, value in index.items() if isinstance(value, list) and len(value) == 2 and value[0]]
    heavy = [name for name in parts if name.startswith(HEAVY)]
    is_whole = bool(heavy) and all((folder / name).is_dir() for name in parts)
    is_whole = is_whole and all(_has_weights(folder / name) for name in heavy)
    return {"source": source, "family": str(index.get("_class_name", "")), "size_bytes": size, "is_whole": is_whole}


def _has_weights(folder: Path) -> bool:
    """All that an index of shards names, or a file; a link whose file is gone is none."""
    for index in folder.glob("*.safetensors.index.json"):
        named = (read_json(index) or {}).get("weight_map")
        if isinstance(named, dict):
            return all((folder / str(name)).is_file() for name in set(named.values()))
    return any(path.is_file() for path in folder.glob("*.safetensors"))


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    for path in folder.rglob("*"):
        with suppress(OSError):
            status = path.lstat()
            if not path.is_dir():
                yield status
