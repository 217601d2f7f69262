"""What the agent writes lands whole or not at all; and the one error that goes back instead of an answer."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK_TIMEOUT_S = 10.0
Json = dict[str, Any]


class Problem(Exception):
    """What goes back instead of an answer. kind: asked-wrongly, failed, not-found or busy."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


def write_whole(path: Path, content: str) -> None:
    """Under a staging name, synced, renamed; the folder's entry is synced as well."""
    partial = path.with_name(f".partial-{os.getpid()}-{threading.get_ident()}-{path.name}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Plain ASCII: a lone surrogate, which JSON can carry and UTF-8 cannot, arrives as it was sent."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Json | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def exclusive(path: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[int]:
    """Hold the flock of a file; yields its descriptor. Raises Problem when another holds it for `timeout_s`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
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
