"""One press, one job: a key for each request to start one, written down before it is sent.

When the answer is lost, whoever asks the same again uses the same key, also as another process after `kill -9`, and the
host then gives the job that it has already.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from remote.errors import HostUnreachable, NotAnswered
from t2v_core.disk.files import describe_os_error
from t2v_core.disk.private import make_folder
from t2v_core.errors import EngineError
from t2v_core.workspace import Workspace

# Who asks the same a day later wants it done once more.
REMEMBERED_S = 3600.0


@contextmanager
def pressed(workspace: Workspace, request: dict[str, Any]) -> Iterator[str]:
    """Yield the key for one press. It waits for a retry when the answer is lost, or this process is.

    request: host, verb, spec and whatever else makes it another request; plain JSON
    A key whose process still runs belongs to a press of its own and is left alone.
    """
    same = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]
    folder = workspace.root / ".t2v" / "presses"
    try:
        make_folder(folder)
        path, descriptor = _unanswered(folder, same) or _new(folder, same)
    except OSError as error:
        raise describe_os_error(error, folder) from error
    try:
        yield path.name.rpartition("-")[2]
        path.unlink(missing_ok=True)
    except (HostUnreachable, NotAnswered):
        raise
    except EngineError:  # an answer too
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)  # which gives the lock back


def _unanswered(folder: Path, same: str) -> tuple[Path, int] | None:
    """The file of a press of the last hour whose process is gone."""
    for path in sorted(folder.glob(f"{same}-*")):
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR)
            if _is_ours_now(descriptor):
                if time.time() - os.fstat(descriptor).st_mtime < REMEMBERED_S:
                    return path, descriptor
                path.unlink(missing_ok=True)
            os.close(descriptor)
    return None


def _is_ours_now(descriptor: int) -> bool:
    """Nobody else holds it, and nobody has had the answer meanwhile."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _new(folder: Path, same: str) -> tuple[Path, int]:
    path = folder / f"{same}-{secrets.token_hex(16)}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.fsync(descriptor)
    return path, descriptor
