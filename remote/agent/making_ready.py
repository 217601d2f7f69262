"""What remote/bootstrap.py asks for: how this machine stands, and putting a release there."""

from __future__ import annotations

import binascii
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from .asked import expanded, take, workspace
from .files import Json, Problem, read_json
from .looking import probe, sha256_of
from .processes import find_program
from .releases import RELEASE_PTH, release_folder, releases

PYTHONS = ("python3", "python3.13", "python3.12", "python3.11", "python3.14")
ABOUT_PYTHON = """
import sys
try:
    import ensurepip, venv
    print(sys.version.split()[0], sys.executable, "yes", sep="\\n")
except ImportError:
    print(sys.version.split()[0], sys.executable, "no", sep="\\n")
"""


def standing(parameters: Json) -> Json:
    """All that tells whether this host is ready, in one round trip; the Pythons only when something is missing.

    requirements_sha256: what the venv should hold
    """
    root = workspace(parameters)
    said = probe(parameters)
    installed = read_json(root / "venv" / "t2v-installed.json") or {}
    is_whole = said["engine"] and installed.get("requirements_sha256") == take(parameters, "requirements_sha256", str)
    in_use = [path.read_text().strip() for path in root.glob(f"venv/lib/python*/site-packages/{RELEASE_PTH}")]
    hub = Path(os.environ.get("HF_HOME") or expanded("~/.cache/huggingface")) / "hub"
    return {
        **said,
        "installed": installed,
        "in_use": Path(in_use[0]).name if in_use else None,
        "pythons": [] if is_whole else pythons(),
        "hub": sorted(one.name[8:].replace("--", "/") for one in hub.glob("models--*") if any(one.glob("snapshots/*"))),
    }


def pythons() -> list[Json]:
    """Those on the PATH that run, each once, the host's default first."""
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
    sha256 = take(parameters, "sha256", str)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise Problem("asked-wrongly", f"{sha256!r} is no sha256")
    return workspace(parameters) / ".t2v" / "incoming" / str(sha256)


def put(parameters: Json) -> Json:
    """A piece of a file that comes under its sha256; says how much of it is there, so that an upload can go on."""
    path, offset = incoming(parameters), take(parameters, "offset", int, 0)
    data = binascii.a2b_base64(take(parameters, "data", str, ""))
    path.parent.mkdir(parents=True, exist_ok=True)
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
    """Make a release of what came: checked, unpacked under another name, synced, renamed."""
    import shutil  # noqa: PLC0415
    import zipfile  # noqa: PLC0415

    source = incoming(parameters)
    folder = release_folder(workspace(parameters), take(parameters, "release", str))
    if not folder.exists():
        if sha256_of(source)["sha256"] != source.name:
            source.unlink(missing_ok=True)
            raise Problem("failed", f"release {folder.name} arrived damaged", "run t2v bootstrap again")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f".partial-{folder.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            with zipfile.ZipFile(source) as file:
                file.extractall(partial)
            for path in [*partial.rglob("*"), partial]:
                descriptor = os.open(path, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody else was quicker
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    source.unlink(missing_ok=True)
    for left in folder.parent.glob(".partial-*"):  # by one that was killed
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)
    return {"releases": releases(workspace(parameters))}
