"""sha256 of files that nobody took when they were written; taken once and remembered, here as on a host."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..base.asked import arguments_in, expanded, path_in, take
from ..base.files import Json, Problem, exclusive
from ..base.plain_json import lines_of, parsed
from ..base.private import make_folder
from ..guard.busy import BusyMark
from ..listing.looking import sha256_of
from .offers import file_row

CACHE_LINES = 50_000


def sums(parameters: Json) -> Json:
    """Return the sha256 of files, each with the size and times of the file it was taken of.

    What was taken once is remembered.
    """
    mark, rows = BusyMark(), []
    known, new = dict(read_cache()), {}
    for path in arguments_in(take(parameters, "paths", list), "paths"):
        mark.touch()
        file = path_in(parameters, path)
        try:
            before = file.stat()
            key = cache_key(file, before)
            digest = known.get(key) or sha256_of(file)["sha256"]
            after = file.stat()
        except OSError as error:
            raise Problem("not-found", f"{file}: {error.strerror}", "it may have been removed meanwhile") from None
        if digest is not None and cache_key(file, after) == key and key not in known:
            new[key] = digest
        rows.append({"path": path, **file_row("", after, digest if cache_key(file, after) == key else None)})
    mark.remove()
    if new:
        remember(new)
    return {"files": rows}


def cache_key(path: Path, status: os.stat_result) -> str:
    """Return what a file's sum is remembered by: its path, inode, size and time."""
    return f"{path.resolve()}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}"


def cache_path() -> Path:
    """Return the file of remembered sums, whether it is there or not."""
    return expanded("~/.cache/t2v/sha256.jsonl")


def read_cache() -> Iterator[tuple[str, str]]:
    """Yield the remembered sums as (key, sha256); lines that make no sense are passed over."""
    with suppress(FileNotFoundError):
        for line in lines_of(cache_path()):
            with suppress(ValueError, TypeError):
                key, digest = parsed(line)
                if isinstance(key, str) and isinstance(digest, str):
                    yield key, digest


def remember(new: dict[str, str]) -> None:
    """Add lines at the end; when they are too many, the older half goes."""
    path = cache_path()
    make_folder(path.parent)
    added = b"".join(json.dumps(pair).encode() + b"\n" for pair in new.items())
    with exclusive(path.with_suffix(".lock")):
        kept = [line + b"\n" for line in lines_of(path)] if path.exists() else []
        if len(kept) >= CACHE_LINES:
            path.write_bytes(b"".join(kept[CACHE_LINES // 2 :]) + added)
        else:
            with path.open("ab") as file:
                file.write(added)
