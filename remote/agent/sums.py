"""sha256 of files that nobody took when they were written; taken once and remembered, here as on a host."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .asked import arguments_in, expanded, path_in, take
from .busy import BusyMark
from .files import Json, Problem, exclusive
from .looking import sha256_of
from .offers import file_row

CACHE_LINES = 50_000


def sums(parameters: Json) -> Json:
    """sha256 of files, each with the size and times of the file it was taken of; what was taken once is remembered."""
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
    return f"{path.resolve()}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}"


def cache_path() -> Path:
    return expanded("~/.cache/t2v/sha256.jsonl")


def read_cache() -> Iterator[tuple[str, str]]:
    with suppress(FileNotFoundError):
        for line in cache_path().read_bytes().splitlines():
            with suppress(ValueError, TypeError):
                key, digest = json.loads(line)
                yield key, digest


def remember(new: dict[str, str]) -> None:
    """Lines at the end; when they are too many, the older half goes."""
    path = cache_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    added = b"".join(json.dumps(pair).encode() + b"\n" for pair in new.items())
    with exclusive(path.with_suffix(".lock")):
        kept = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if len(kept) >= CACHE_LINES:
            path.write_bytes(b"".join(kept[CACHE_LINES // 2 :]) + added)
        else:
            with path.open("ab") as file:
                file.write(added)
