"""The previous system's `.pt` checkpoints of a folder: what each is, said by a process of its own and remembered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..base.asked import path_in, take
from ..base.files import Json

NAME = re.compile(r"checkpoint_epoch_(\d+)\.pt")
FINAL = "final_model.pt"
READER = Path(__file__).with_name("old_checkpoints.py")
READING_TIMEOUT_S = 60.0
MOST_FILES = 5000
MOST_READERS, FILES_A_READER = 4, 8
UNKNOWN: Json = {"epoch": None, "loss": None, "has_adam": False, "model": "", "why": ""}

# A path with its file's size, time of change and inode.
Key = tuple[str, int, int, int]
# What was said of a file stays so until the file is another one.
_known: dict[Key, Json] = {}
_lock = threading.Lock()


def old_checkpoints(parameters: Json) -> Json:
    """Return those of a folder, and of the folders in it.

    An entry is {path, size_bytes, mtime, epoch, loss, has_adam, model, why}.

    A file is one by its name, or by what is in it.
    """
    return {"entries": listed(path_in(parameters, take(parameters, "path", str, "checkpoints")))}


def listed(folder: Path) -> list[Json]:
    """Return the same for a folder of this machine."""
    found = files_of(folder)
    rows = remembered(found)
    return [
        {"path": path.relative_to(folder).as_posix(), "size_bytes": found[path][1], "mtime": found[path][2] / 1e9,
         **row, "epoch": epoch_of(path) or row["epoch"]}
        for path, row in rows.items() if row["model"] or is_named_so(path)
    ]  # fmt: skip


def in_a_few_words(paths: Sequence[Path]) -> list[str]:
    """Return `epoch 5, loss 0.31` of each file, in order; of one that cannot be used why. Raises OSError."""
    rows = remembered(keys_of(paths))
    return [_words(path, rows[path]) if path in rows else "" for path in paths]


def _words(path: Path, row: Json) -> str:
    if row["why"]:
        return f"by its name only: {row['why']}"
    epoch, loss = epoch_of(path) or row["epoch"], row["loss"]
    said = [f"epoch {epoch}" if epoch is not None else "", f"loss {loss:.4g}" if loss is not None else ""]
    return ", ".join(filter(None, said))


def remembered(found: dict[Path, Key]) -> dict[Path, Json]:
    """Return what each file says; only those are read that were not before."""
    with _lock:
        new = [path for path in found if found[path] not in _known]
    said = describe_all([str(path) for path in new])
    with _lock:
        _known.update({found[path]: row for path, row in zip(new, said)})  # Python 3.9 knows no strict
        return {path: _known[key] for path, key in found.items()}


def files_of(folder: Path) -> dict[Path, Key]:
    """Return the `.pt` files of a folder, and of the folders in it."""
    paths = sorted([*folder.glob("*.pt"), *folder.glob("[!.]*/*.pt")])[:MOST_FILES]
    return keys_of([path for path in paths if path.is_file() and not path.name.startswith(".")])


def keys_of(paths: Sequence[Path]) -> dict[Path, Key]:
    """Return what tells each file from every other and from itself at another time."""
    found: dict[Path, Key] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # removed meanwhile
            continue
        found[path] = (str(path), status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def is_named_so(path: Path) -> bool:
    """Tell whether a file is one by its name."""
    return path.name == FINAL or NAME.fullmatch(path.name) is not None


def epoch_of(path: Path) -> int | None:
    """Return the epoch by the name, which counts from 1; what the file says may count from 0."""
    named = NAME.fullmatch(path.name)
    return int(named[1]) if named else None


def describe_all(paths: list[str]) -> list[Json]:
    """Describe files, in order.

    About 1 ms a file, nearly all of it unpickling: a hundred are shared out to a few readers.
    """
    readers = max(1, min(MOST_READERS, os.cpu_count() or 1, len(paths) // FILES_A_READER))
    size = -(-len(paths) // readers) or 1
    parts = [paths[begin : begin + size] for begin in range(0, len(paths), size)]
    from concurrent.futures import ThreadPoolExecutor  # with logging and more: each agent's start would wait for it

    with ThreadPoolExecutor(readers) as pool:
        return [row for part in pool.map(describe, parts) for row in part]


def describe(paths: list[str]) -> list[Json]:
    """Describe files by one reader, in order.

    A file that ends the reader is said to be unreadable, and the others are read by another one.
    """
    said: list[Json] = []
    while len(said) < len(paths):
        left = paths[len(said) :]
        lines, why = _listed(left)
        said += lines[: len(left)]
        if len(lines) < len(left):
            said.append({**UNKNOWN, "why": why})
    return said


def _listed(paths: list[str]) -> tuple[list[Json], str]:
    argv = [sys.executable, "-I", "-S", "-X", "utf8", os.fspath(READER)]
    try:
        done = subprocess.run(
            argv, input=json.dumps(paths).encode(), capture_output=True, timeout=READING_TIMEOUT_S, check=False
        )
        out, why = done.stdout, "it is crafted to break whatever reads it"
    except subprocess.TimeoutExpired as error:
        out, why = error.stdout or b"", f"it could not be read within {READING_TIMEOUT_S:.0f} s"
    whole = out[: out.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], why
