"""Opening what others name: it is a file, and no larger than what is wanted of it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from t2v_core.format import size

# Settings and notes; the manifest of 100,000 clips is 60 MB.
MOST_BYTES = 64 * 2**20
# Tables of captions and tensors of one clip.
MOST_TABLE_BYTES = 2**30


def open_file(path: Path) -> BufferedReader:
    """Open a file to be read.

    Raises OSError, also for what is none: a FIFO would be waited for, /dev/zero never ends.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - whoever asked closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EISDIR, "it is not a regular file", str(path))  # the nearest number that there is
    return file


def read_soon(paths: Iterable[Path]) -> None:
    """Have the system read files before they are asked for, where it can; what cannot be opened is left out."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        with suppress(OSError):
            descriptor = _open_at_once(str(path), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)


def read_bytes(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Read all of a file. Raises OSError, also for what is none and for what is longer."""
    with open_file(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        data = file.read(most_bytes + 1) if size_bytes <= most_bytes else b""
        if max(size_bytes, len(data)) > most_bytes:  # it may have grown since
            raise OSError(errno.EFBIG, f"{size(max(size_bytes, len(data)))} are too much for it", str(path))
        return data


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
