"""Jobs of other machines in a folder that several of them see, as over NFS.

Only its own machine starts a job, sees its processes, and says how it ended; the others show it, and leave it alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from .files import Json, read_json
from .processes import is_supervised

MACHINE_ID_FILE = Path(os.environ.get("T2V_MACHINE_ID_FILE", "/etc/machine-id"))
# In a folder whose file system keeps locks to each machine, a job of another one is known by its files alone.
QUIET_S = 600.0
WRITTEN = ("events.jsonl", "log", "state.json", "request.json")


def this_machine() -> Json:
    """Return what a job keeps of its machine: an id that outlasts a restart, and a name for people.

    machine-id(5) asks that the id itself be told to nobody, so it is hashed.
    """
    name, said = os.uname().nodename, ""
    with suppress(OSError):
        said = _said_in(MACHINE_ID_FILE)
    return {"id": hashlib.sha256(f"t2v {said or name}".encode()).hexdigest()[:16], "name": name}


@cache
def _said_in(file: Path) -> str:
    """Read what stays while this machine runs. Raises OSError."""
    return file.read_text().strip()


def machine_of(directory: Path, request: Json | None = None) -> Json:
    """Return the machine that a job is of; {} for one of an earlier version. request: what was read, where it was"""
    for name, known in (("request.json", request), ("state.json", None)):
        said = (known or read_json(directory / name) or {}).get("machine")
        if isinstance(said, dict):
            return said
    return {}


def is_elsewhere(directory: Path, request: Json | None = None) -> bool:
    """Tell whether a job is another machine's. request: as for `machine_of`"""
    return machine_of(directory, request).get("id") not in (None, this_machine()["id"])


def look_anew(folder: Path) -> None:
    """Have a file system of the network ask its server what is in a folder.

    It does when the folder is opened. A name that was not there it takes for not there for half a minute else.
    """
    with suppress(OSError):
        os.close(os.open(folder, os.O_RDONLY))


def is_heard_of(directory: Path) -> bool:
    """Tell whether a job of another machine shows that it is alive: it holds its lock, or wrote something lately."""
    if is_supervised(directory):
        return True
    written = 0.0
    for name in WRITTEN:
        with suppress(OSError):
            written = max(written, (directory / name).stat().st_mtime)
    return time.time() - written < QUIET_S


def silence_in_words(directory: Path) -> str:
    """Say why nobody knows how a job of another machine ended."""
    where = str(machine_of(directory).get("name") or "another machine")
    return f"it was a job of {where}, and nothing has been heard of it for {QUIET_S / 60:.0f} minutes"
