"""What goes out: JSON lines, frames, a sign of life; never two mixed."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from .bundle import bundle_sha256
from .files import FULL, Json, Problem

BEAT_S = 3.0
OUT = threading.Lock()
LAST_SAID = [0.0]


def write_all(data: bytes) -> None:
    """Write bytes to stdout: one line or frame is never mixed with another's."""
    with OUT:
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
        LAST_SAID[0] = time.monotonic()


def say_line(value: Json) -> None:
    """Write a value to stdout as a line of JSON."""
    write_all(json.dumps(value, separators=(",", ":")).encode() + b"\n")


def greeting() -> Json:
    """Return the agent's sha256 and the version of Python."""
    return {"agent": bundle_sha256(Path(__file__).parents[1]), "python": ".".join(map(str, sys.version_info[:3]))}


def described(error: Exception) -> Json:
    """Return an error as kind, message and hint; what is no Problem is `failed`."""
    if isinstance(error, Problem):
        return {"kind": error.kind, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        is_full = error.errno in FULL
        hint = "free some space there" if is_full else "fix its permissions, or choose another workspace"
        return {"kind": "failed", "message": f"{where}{error.strerror or error}", "hint": hint}
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}" if at is not None else "?"
    return {"kind": "failed", "message": f"{type(error).__name__}: {error} (agent, {place})", "hint": ""}


def beat() -> None:
    """Say a sign of life whenever nothing was said for BEAT_S; ends the process when nobody listens."""
    while True:
        time.sleep(BEAT_S / 6)
        if time.monotonic() - LAST_SAID[0] >= BEAT_S:
            try:
                say_line({"beat": time.time()})
            except OSError:
                os._exit(0)
