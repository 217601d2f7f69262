"""What can be looked at on this machine: folders, files, hashes, versions."""

from __future__ import annotations

import binascii
import hashlib
import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from ..base.asked import arguments_in, expanded, path_in, take, workspace
from ..base.files import Json, Problem, read_json
from ..base.machine import ask_nvidia, free_bytes, gpu_sample, memory_bytes
from ..base.private import why_open
from ..base.processes import boot_id
from ..base.streams import CHUNK_BYTES
from ..base.units import may_use_systemd, user_name, what_logout_ends
from ..base.wire import greeting
from ..jobs.releases import releases
from ..jobs.rows import job_directories

READ_LIMIT_BYTES = 1024 * 1024
LS_LIMIT = 20_000


def hello(parameters: Json) -> Json:
    """Say which agent, machine, user and boot this is.

    begins: a job is about to be started; see `what_logout_ends`
    """
    who = {"host": os.uname().nodename, "user": user_name(), "boot_id": boot_id(), "time": time.time()}
    logout = what_logout_ends(is_asked_for=take(parameters, "begins", bool, False))
    return {**greeting(), **who, "cores": os.cpu_count(), "logout": logout}


def ls(parameters: Json) -> Json:
    """List the names below a folder of the workspace; `~` and absolute paths are meant as they are."""
    top = path_in(parameters, take(parameters, "path", str, "."))
    if not top.is_dir():
        raise Problem("not-found", f"there is no folder {top}")
    entries: list[Json] = []
    add_entries(top, "", take(parameters, "depth", int, 1), entries)
    return {"path": str(top), "entries": entries, "is_whole": len(entries) < LS_LIMIT}


def add_entries(folder: Path, prefix: str, depth: int, entries: list[Json]) -> None:
    """Append a row for each thing below a folder, `depth` levels deep, LS_LIMIT at most; links are not followed."""
    for one in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if len(entries) >= LS_LIMIT:
            return
        with suppress(OSError):  # removed meanwhile, or not ours to read
            status_, is_folder = one.stat(follow_symlinks=False), one.is_dir(follow_symlinks=False)
            row = {"path": prefix + one.name, "kind": "folder" if is_folder else "link" if one.is_symlink() else "file"}
            times = {"size_bytes": status_.st_size, "mtime": status_.st_mtime}
            entries.append({**row, **times, "is_complete": is_complete(Path(one.path)) if is_folder else None})
            if is_folder and depth > 1:
                add_entries(Path(one.path), f"{prefix}{one.name}/", depth - 1, entries)


def is_complete(folder: Path) -> bool | None:
    """Judge a folder by its `manifest.json`, as t2v_core.disk.files does.

    None for a folder that is not meant to have one.
    """
    manifest = read_json(folder / "manifest.json")
    if manifest is None:
        return False if folder.name.startswith("checkpoint_") else None
    try:
        sizes = {name: entry["size_bytes"] for name, entry in manifest["files"].items()}
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def sha256_of(path: Path) -> Json:
    """Hash a file; sha256 is None for what is not a file that can be read."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while data := file.read(4 * CHUNK_BYTES):
                digest.update(data)
                size += len(data)
    except OSError as error:
        return {"sha256": None, "size_bytes": None, "why": str(error.strerror)}
    return {"sha256": digest.hexdigest(), "size_bytes": size, "why": ""}


def hash_files(parameters: Json) -> Json:
    """Return the sha256 and size of each file, or why it cannot be read."""
    paths = arguments_in(take(parameters, "paths", list), "paths")
    return {"files": [{"path": path, **sha256_of(path_in(parameters, path))} for path in paths]}


def read(parameters: Json) -> Json:
    """Return at most a megabyte of a file, in base64; `size_bytes` is the whole file's."""
    path = path_in(parameters, take(parameters, "path", str))
    offset, size = take(parameters, "offset", int, 0), take(parameters, "size", int, READ_LIMIT_BYTES)
    if not path.is_file():
        raise Problem("not-found", f"there is no file {path}")
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(max(0, min(size, READ_LIMIT_BYTES)))
        return {
            "data": binascii.b2a_base64(data, newline=False).decode(),
            "offset": offset,
            "size_bytes": os.fstat(file.fileno()).st_size,
        }


VERSIONS = """
import importlib.metadata as m, json, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
names = ("t2v", "torch", "diffusers", "transformers")
print(json.dumps({"python": sys.version.split()[0], **{n: version(n) for n in names}}))
"""


def probe(parameters: Json) -> Json:
    """Return what is there and what is missing, in one round trip.

    Versions are read from metadata: torch is not imported.
    """
    root = workspace(parameters)
    python = arguments_in(take(parameters, "python", list, []), "python")
    gpus, why_no_gpu = gpu_sample()
    return {
        **hello(parameters),
        "workspace": str(root),
        "is_there": root.is_dir(),
        "engine": None if python and why_open(root, str(expanded(python[0]))) else versions(python),
        "gpus": gpus,
        "gpu_why": why_no_gpu,
        "driver": next((row[0] for row in ask_nvidia(["--query-gpu=driver_version"])[0]), None),
        "memory": memory_bytes(),
        "disk_free_bytes": free_bytes(root),
        "releases": releases(root),
        "data": sorted(one.name for one in root.glob("data/*") if one.is_dir()),
        "checkpoints": sorted(one.name for one in root.glob("checkpoints/*") if is_complete(one)),
        "jobs": len(job_directories(root / "jobs")),
        "systemd": may_use_systemd(),
    }


def versions(python: list[str]) -> Json | None:
    """Return the versions of the engine's Python and packages; None when it does not run."""
    if not python:
        return None
    try:
        argv = [str(expanded(python[0])), *python[1:], "-c", VERSIONS]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True)
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
