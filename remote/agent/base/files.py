"""What the agent writes lands whole or not at all; and the one error that goes back instead of an answer."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .plain_json import read_bytes, table

LOCK_TIMEOUT_S = 10.0
Json = dict[str, Any]
# In a job's directory, readable by its owner only: what the login had that asked for it.
ENVIRONMENT = "environment.json"
NUMBER, ANY = (int, float), (str, int, float, bool, list, dict, type(None))
FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "state.json": {
        "pid": (int,), "supervisor": (int,), "started": NUMBER, "boot_id": (str, type(None)),
        "start_ticks": (int, type(None)), "argv": (list,), "machine": (dict,),
    },
    "exit.json": {
        "code": (int, type(None)), "signal": (str, type(None)), "reason": (str,), "hint": (str,),
        "ended": (*NUMBER, type(None)), "boot_id": (str, type(None)), "up_s": NUMBER,
    },
    "request.json": {
        "key": (str,), "verb": (str,), "argv": (list,), "python": (list,), "env": (dict,), "needs_gpu": (bool,),
        "after": (str, type(None)), "is_engine": (bool,), "by": (dict,), "queued_t": NUMBER, "machine": (dict,),
    },
}  # fmt: skip
FULL = (errno.ENOSPC, errno.EDQUOT)


class Problem(Exception):
    """What goes back instead of an answer. kind: asked-wrongly, failed, not-found or busy."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


def write_whole(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file under a staging name, sync it, rename it; the folder's entry is synced as well."""
    # Machines that see one folder have processes of the same numbers, and one may have no entropy yet.
    partial = path.with_name(f".partial-{os.getpid()}.{time.monotonic_ns()}-{path.name}")
    exclusively = os.O_EXCL | os.O_NOFOLLOW
    try:
        with open(
            partial, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | exclusively, mode)
        ) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def at_once(path: str, flags: int) -> int:
    """Open as `open` does, without waiting for whoever would write to a pipe in a file's place."""
    return os.open(path, flags | os.O_NONBLOCK)


def sync_folder(path: Path) -> None:
    """Sync a folder: until then a power cut may take a name that was given in it."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Write plain ASCII: a lone surrogate, which JSON can carry and UTF-8 cannot, arrives as it was sent."""
    write_whole(path, json.dumps(value, indent=2) + "\n", mode)


def read_json(path: Path) -> Json | None:
    """Return the JSON object in a file; None for whatever else is there.

    A field of a job's own files that is none is left out, so that one damaged folder does not hide the other jobs.
    """
    try:
        said = table(read_bytes(path))
    except (OSError, ValueError):
        return None
    if fields := FIELDS.get(path.name):
        said = {name: value for name, value in said.items() if type(value) in fields.get(name, ANY)}
    return said if path.name != "exit.json" or "code" in said else None


@contextmanager
def exclusive(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[int]:
    """Hold the flock of a file; yields its descriptor. Raises Problem when another holds it for `timeout_s`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Problem("busy", f"another process holds {path}", "try again") from None
                time.sleep(0.01)
        yield descriptor
    finally:
        os.close(descriptor)
