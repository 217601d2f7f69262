"""A file that is on its way: what has come of it, kept over interruptions, and its checksum so far."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from t2v_core.errors import InvalidRequest
from t2v_core.models.hub.repository import HubFile

PIECE_BYTES = 2**20


class Incoming:
    """What has come of a file. size_bytes: of that"""

    def __init__(self, disk: BinaryIO, file: HubFile) -> None:
        self._disk, self._file = disk, file
        self.size_bytes = os.fstat(disk.fileno()).st_size
        self._digest = _digest_for(file)
        if self.size_bytes > file.size_bytes:  # more than there can be is not of this file
            self.begin_anew()
        with Path(disk.name).open("rb") as came:
            while piece := came.read(PIECE_BYTES):
                self._digest.update(piece)

    def add(self, piece: bytes) -> None:
        """Write the next bytes, all of them: a disk that fills takes a part, and then none. Raises OSError."""
        rest = memoryview(piece)
        while rest:
            taken = self._disk.write(rest)
            self._digest.update(rest[:taken])
            self.size_bytes += taken
            rest = rest[taken:]

    def begin_anew(self) -> None:
        """Forget what has come."""
        self._disk.truncate(0)
        self.size_bytes, self._digest = 0, _digest_for(self._file)

    @property
    def damage(self) -> str:
        """Return how it is not the file that the hub has, in words; empty when it is."""
        if self.size_bytes != self._file.size_bytes:
            return f"{self.size_bytes} bytes, and the hub says {self._file.size_bytes}"
        return "" if self._digest.hexdigest() == self._file.checksum else "its checksum differs"

    def land(self, path: Path) -> None:
        """Give it its name, once it is on the disk."""
        os.fsync(self._disk.fileno())
        Path(self._disk.name).replace(path)


@contextmanager
def incoming(path: Path, file: HubFile) -> Iterator[Incoming]:
    """Yield what has come of a file so far. Raises InvalidRequest while another process adds to it."""
    with path.open("ab", buffering=0) as disk:
        try:
            fcntl.flock(disk, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidRequest(f"another process is fetching {file.name}", hint="wait for that one") from error
        yield Incoming(disk, file)


def _digest_for(file: HubFile) -> Any:
    """What its checksum is made by: sha256, or sha1 with the header that git puts before a file."""
    if len(file.checksum) == len(hashlib.sha256().hexdigest()):
        return hashlib.sha256()
    return hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
