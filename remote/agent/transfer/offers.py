"""What can be fetched from a workspace: complete checkpoints, finished files, each with its size, times and sha256.

A folder with a `manifest.json` that fits is offered as a whole, with the sums that its writer took; one whose manifest
does not fit, or a checkpoint without one, is not offered, and why is said. Links and devices never are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

from ..base.asked import arguments_in, path_in, take, workspace
from ..base.files import Json, Problem, read_json
from ..base.machine import free_bytes
from ..base.plain_json import read_bytes
from ..base.whose import asker
from .makers import without_others

MANIFEST = "manifest.json"
STAGED = (".part", ".part.journal")  # what arrives here just now
PROGRAMS = ("rsync", "gcloud")


def offer(parameters: Json) -> Json:
    """Return everything below some paths of the workspace.

    known:      digest of an answer that the caller has; when nothing has changed since, the answer is only that
    is_anyones: also what another workspace made, which shares the folder
    """
    root = workspace(parameters)
    units: list[Json] = []
    skipped: list[Json] = []
    for path in arguments_in(take(parameters, "paths", list), "paths"):
        top = path_in(parameters, path)
        if not top.exists():
            skipped.append({"path": path, "why": "there is no such file or folder", "is_asked": True})
        else:
            # A workspace's folder may be a link to a larger disk; what lies in it may not lead out of it.
            walk(top.resolve(), path.rstrip("/") or path, units, skipped)
    if not take(parameters, "is_anyones", bool, False):
        units, others = without_others(root, units, asker(parameters))
        skipped += others
    said = {"workspace": str(root), "units": units, "skipped": skipped}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    if digest == take(parameters, "known", str, None):
        return {"digest": digest, "is_same": True}
    programs = [name for name in PROGRAMS if shutil.which(name)]
    return {"digest": digest, "is_same": False, **said, "programs": programs, "disk_free_bytes": free_bytes(root)}


def walk(path: Path, shown: str, units: list[Json], skipped: list[Json]) -> None:
    """Add what `path` is or holds. shown: how the caller named it"""
    name = path.name
    if name.startswith(".partial-") or name.endswith(STAGED):
        return
    try:
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and not os.access(path, os.R_OK):
            skipped.append({"path": shown, "why": f"{shown} cannot be read there", "is_refused": True})
        elif stat.S_ISREG(status.st_mode):
            units.append({"path": shown, "kind": "file", "files": [file_row("", status, None)]})
        elif not stat.S_ISDIR(status.st_mode):
            skipped.append({"path": shown, "why": f"it is a {kind_of(status.st_mode)}"})
        elif name.endswith(STAGED[0]):
            return
        elif (why := incomplete(path)) is not None:
            skipped.append({"path": shown, "why": why})
        elif (path / MANIFEST).is_file() and (closed := unreadable(path)):
            skipped.append({"path": shown, "why": f"{shown}/{closed} cannot be read there", "is_refused": True})
        elif (path / MANIFEST).is_file():
            units.append(sealed(path, shown))
        else:
            with os.scandir(path) as entries:
                names = sorted(entry.name for entry in entries)
            for one in names:
                walk(path / one, f"{shown}/{one}", units, skipped)
    except FileNotFoundError:  # removed meanwhile, as superseded checkpoints are
        return
    except OSError as error:
        is_refused = isinstance(error, PermissionError)
        why = f"{shown} cannot be read there" if is_refused else str(error.strerror)
        skipped.append({"path": shown, "why": why, "is_refused": is_refused})


def unreadable(folder: Path) -> str:
    """Return the first file of a manifest that this user may not read; "" when there is none."""
    return next((name for name in listed(folder) or {} if not os.access(folder / name, os.R_OK)), "")


def kind_of(mode: int) -> str:
    """Name what is neither a file nor a folder: link, fifo, socket, device or special file."""
    kinds = (
        (stat.S_ISLNK, "link"), (stat.S_ISFIFO, "fifo"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    )  # fmt: skip
    return next((word for is_it, word in kinds if is_it(mode)), "special file")


def incomplete(folder: Path) -> str | None:
    """Return why a folder that is meant to be whole is not; None for one that is, or is not meant to be."""
    if not (folder / MANIFEST).exists():
        return f"it is not complete: no {MANIFEST}" if folder.name.startswith("checkpoint_") else None
    files = listed(folder)
    if files is None:
        return f"it is not complete: {MANIFEST} cannot be read"
    for name, entry in files.items():
        try:
            size = (folder / name).lstat().st_size
        except OSError:
            return f"it is not complete: {name} is missing"
        if size != entry.get("size_bytes"):
            return f"it is not complete: {name} has {size} bytes instead of {entry.get('size_bytes')}"
    return None


def listed(folder: Path) -> Json | None:
    """Return the files that a manifest names, by their names; None when it says nothing that can be understood."""
    files = (read_json(folder / MANIFEST) or {}).get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        return None
    try:
        arguments_in(list(files), MANIFEST)
    except Problem:
        return None
    return files


def sealed(folder: Path, shown: str) -> Json:
    """Return a folder as its manifest describes it; nothing else that lies in it."""
    content = read_bytes(folder / MANIFEST)
    own = file_row(MANIFEST, (folder / MANIFEST).lstat(), hashlib.sha256(content).hexdigest())
    rows = []
    for name, entry in (listed(folder) or {}).items():
        status = (folder / name).lstat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, f"{name} in it is a {kind_of(status.st_mode)}")
        sha256 = entry.get("sha256")
        rows.append(file_row(name, status, sha256 if isinstance(sha256, str) else None))
    step = (read_json(folder / "trainer.json") or {}).get("step")
    return {"path": shown, "kind": "sealed", "step": step if type(step) is int else None, "files": [*rows, own]}


def file_row(name: str, status: os.stat_result, sha256: str | None) -> Json:
    """Return a file's row: name, size, time and inode; sha256 is None where nobody took it."""
    times = {"mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
    return {"name": name, "size": status.st_size, **times, "sha256": sha256}
