"""One run at a time in a folder: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from t2v_core.disk.files import describe_os_error
from t2v_core.disk.private import open_own
from t2v_core.errors import InvalidRequest
from t2v_core.job import Job

DATASET_LOCK, CHECKPOINTS_LOCK = ".preprocess.lock", ".train.lock"
# Network file systems without locks say so in one of these ways.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def alone(folder: Path, lock: str, job: Job) -> Iterator[None]:
    """Be the only run that writes into `folder`, which is made when it is not there.

    lock: name of the lock file; it holds the job's directory and goes with the lock
    Raises InvalidRequest when another run is at it, at once, or when the folder cannot be written.
    """
    is_made = not folder.exists()
    path = folder / lock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(path, job)
    except OSError as error:
        raise describe_os_error(error, path) from error
    with file:
        try:
            yield
        finally:
            with suppress(OSError):  # the folder may be gone, or not be writable any more
                path.unlink(missing_ok=True)
                if is_made:
                    folder.rmdir()  # nothing came into it


def _locked(path: Path, job: Job) -> BinaryIO:
    """The lock file, locked, with our job in it. Raises InvalidRequest, OSError."""
    while True:
        file = os.fdopen(open_own(path, os.O_RDWR | os.O_APPEND), "a+b", buffering=0)
        try:
            _lock(file, path, job)
            if _is_still(file, path):
                with suppress(OSError):  # on a full disk the lock holds without a name in it
                    file.truncate(0)
                    file.write(str(job.directory).encode())
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # who held it has just taken it away: another one may lie there by now


def _lock(file: BinaryIO, path: Path, job: Job) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _refusal(file, path, job) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        job.events.warning(
            f"{path.parent} lies on a file system without locks",
            hint="make sure that no other run writes into it meanwhile",
        )


def _is_still(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _refusal(file: BinaryIO, path: Path, job: Job) -> InvalidRequest:
    file.seek(0)
    holder = Path(os.fsdecode(file.read(4096)))
    if not holder.name:
        return InvalidRequest(f"another run is writing into {path.parent}", hint="wait for it, or end it")
    if holder.parent == job.directory.parent:
        hint = f"wait for that job, or end it: t2v stop {holder.name}"
    else:
        hint = f"wait for that job, or end it in its own workspace, {holder.parent.parent}: t2v stop {holder.name}"
    return InvalidRequest(f"{holder.name} is writing into {path.parent}", hint=hint)
