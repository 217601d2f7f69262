"""One transfer of a workspace at a time: the others wait for their turn, and know for whom."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from t2v_core.disk.files import describe_os_error
from t2v_core.disk.plain_json import table
from t2v_core.disk.private import make_folder
from t2v_core.format import time_of_day
from t2v_core.workspace import Workspace


class Turn:
    """The lock of a workspace's transfers, `.t2v/transfers/lock`; it goes with the process that holds it.

    what: is being done, for those who wait
    """

    def __init__(self, workspace: Workspace, what: str) -> None:
        self.path: Path = workspace.root / ".t2v" / "transfers" / "lock"
        self.what = what
        self._file: int | None = None

    def take(self) -> str:
        """Take the lock if it is free. Returns "" when it is ours now, else who has it."""
        try:
            make_folder(self.path.parent)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise describe_os_error(error, self.path) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 4096, 0)
            os.close(file)
            return _holder(holder)
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps({"pid": os.getpid(), "what": self.what, "since": time.time()}).encode(), 0)
        self._file = file
        return ""

    def give(self) -> None:
        """Give the lock back, if it is ours."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _holder(holder: bytes) -> str:
    with suppress(ValueError, KeyError, TypeError, OverflowError, OSError):
        said = table(holder)
        since = time_of_day(float(said["since"]))
        return f"{said['what']} (process {said['pid']}, since {since})"
    return "another transfer"
