"""What remote/setup/bootstrap.py asks for: how this machine stands, and putting a release there."""

from __future__ import annotations

import binascii
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..base.asked import expanded, take, workspace
from ..base.files import Json, Problem, exclusive, read_json, sync_folder
from ..base.plain_json import read_bytes
from ..base.private import make_folder
from ..base.processes import find_program
from ..jobs.releases import RELEASE_PTH, VENV, release_folder, releases
from ..listing.looking import probe, sha256_of
from .own_folder import INSTALLED, adoptable, beside, obstacle

PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.14")
# A bundle is some MB; a slow disk has its time.
UNPACK_TIMEOUT_S, ABANDONED_S = 120.0, 3600.0
ABOUT_PYTHON = """
import sys
try:
    import ensurepip, venv
    print(sys.version.split()[0], sys.executable, "yes", sep="\\n")
except ImportError:
    print(sys.version.split()[0], sys.executable, "no", sep="\\n")
"""


def standing(parameters: Json) -> Json:
    """Return all that tells whether this host is ready, in one round trip.

    The Pythons are there only when something is missing.

    requirements_sha256: what the venv should hold
    """
    root = workspace(parameters)
    said = probe(parameters)
    installed = read_json(root / VENV / INSTALLED) or {}
    wanted = take(parameters, "requirements_sha256", str)
    is_whole = said["engine"] and installed.get("requirements_sha256") == wanted
    in_use = [
        read_bytes(path).decode(errors="replace").strip()
        for path in root.glob(f"{VENV}/lib/python*/site-packages/{RELEASE_PTH}")
    ]
    hub = Path(os.environ.get("HF_HOME") or expanded("~/.cache/huggingface")) / "hub"
    return {
        **said,
        "obstacle": obstacle(root),
        "is_adoptable": adoptable(root, wanted),
        "beside": beside(root),
        "installed": installed,
        "in_use": Path(in_use[0]).name if in_use else None,
        "pythons": [] if is_whole else pythons(),
        "hub": sorted(one.name[8:].replace("--", "/") for one in hub.glob("models--*") if any(one.glob("snapshots/*"))),
    }


def pythons() -> list[Json]:
    """Return the Pythons on the PATH that run, each once, the host's default first."""
    found: dict[str, Json] = {}
    for name in (*PYTHONS, sys.executable):
        program = find_program(name)
        if program is None:
            continue
        with suppress(OSError, ValueError, subprocess.SubprocessError):
            argv = [program, "-I", "-c", ABOUT_PYTHON]
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True)
            version, path, can = done.stdout.decode().split("\n")[:3]
            found.setdefault(path, {"path": path, "version": version, "makes_venvs": can == "yes"})
    return list(found.values())


def incoming(parameters: Json) -> Path:
    """Return the file that an upload goes to, named by its sha256. Raises Problem for what is no sha256."""
    sha256 = take(parameters, "sha256", str)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise Problem("asked-wrongly", f"{sha256!r} is not a sha256")
    return workspace(parameters) / ".t2v" / "incoming" / str(sha256)


def put(parameters: Json) -> Json:
    """Write a piece of a file that comes under its sha256.

    It says how much of it is there, so that an upload can go on.
    """
    path, offset = incoming(parameters), take(parameters, "offset", int, 0)
    data = binascii.a2b_base64(take(parameters, "data", str, ""))
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not 0 <= offset <= os.fstat(descriptor).st_size:
            raise Problem("asked-wrongly", f"byte {offset} would leave a hole in {path}")
        while data:
            written = os.pwrite(descriptor, data, offset)
            data, offset = data[written:], offset + written
        return {"size_bytes": os.fstat(descriptor).st_size}
    finally:
        os.close(descriptor)


def unpack_release(parameters: Json) -> Json:
    """Make a release of what came; nothing of it, nor of one that was killed at it, is left beside the release."""
    source = incoming(parameters)
    folder = release_folder(workspace(parameters), take(parameters, "release", str))
    make_folder(folder.parent)
    with exclusive(folder.parent.with_name("releases.lock"), timeout_s=UNPACK_TIMEOUT_S):
        remove_halves(folder.parent)  # of the killed: nobody else unpacks now
        if folder.exists():  # somebody else was quicker
            source.unlink(missing_ok=True)
        else:
            unpack(source, folder)
    for left in source.parent.glob("*"):  # uploads that nobody went on with
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                left.unlink()
    return {"releases": releases(workspace(parameters))}


def unpack(source: Path, folder: Path) -> None:
    """Check it, unpack it under another name, sync and rename that; what came goes before anybody sees the release.

    Raises Problem for a damaged one, and OSError.
    """
    import zipfile

    if sha256_of(source)["sha256"] != source.name:
        source.unlink(missing_ok=True)
        raise Problem("failed", f"release {folder.name} arrived damaged", "run t2v bootstrap again")
    partial = folder.with_name(f".partial-{folder.name}")
    try:
        with zipfile.ZipFile(source) as file:
            file.extractall(partial)
        for path in [*partial.rglob("*"), partial]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        source.unlink()
        partial.rename(folder)
        sync_folder(folder.parent)
    finally:
        remove_halves(folder.parent)


def remove_halves(folder: Path) -> None:
    """Remove every `.partial-…` in a folder; what cannot be removed stays."""
    import shutil

    for left in folder.glob(".partial-*"):
        shutil.rmtree(left, ignore_errors=True)
