"""One transfer of a workspace at a time: the others wait for their turn, and know for whom."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from t2v_core.disk.files import describe_os_error
from t2v_core.disk.plain_json import table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import read_as
from t2v_core.format import time_of_day
from t2v_core.workspace import Workspace


@dataclass(frozen=True)
class _Holder:
    """What the lock's file holds. since: Unix seconds"""

    pid: int
    what: str
    since: float


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
        os.pwrite(file, json.dumps(asdict(_Holder(os.getpid(), self.what, time.time()))).encode(), 0)
        self._file = file
        return ""

    def give(self) -> None:
        """Give the lock back, if it is ours."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _holder(holder: bytes) -> str:
    with suppress(ValueError):
        has_it = read_as(_Holder, table(holder))
        return f"{has_it.what} (process {has_it.pid}, since {time_of_day(has_it.since)})"
    return "another transfer"
