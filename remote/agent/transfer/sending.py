"""Bytes of files, range by range, as they are asked for: the sending half of a transfer.

Each range is a line {"range", "n"}, n bytes, and a line {"sent", "is_same", "sha256"}: whether the file was all the
while the one that was meant. A file that is another one already is a line {"changed"} alone.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from ..base.asked import take, workspace
from ..base.files import Json
from ..base.wire import write_all
from ..guard.busy import BusyMark

CHUNK_BYTES = 1024 * 1024
F_SETPIPE_SZ, PIPE_BYTES = 1031, 1024 * 1024  # fcntl.h; Python has the name since 3.10
# What asking again does not mend.
FINAL = (errno.EACCES, errno.EPERM, errno.EIO)
# Header, bytes and trailer of a small file travel as one write.
TOGETHER_BYTES = 256 * 1024
CUT_OFF = "it has become shorter"


def send(parameters: Json) -> None:
    """Send the ranges that lines on stdin ask for, until it ends.

    A line is {"ranges": [{"path", "offset", "n", "size", "mtime_ns", "inode", "grows", "digest"}, …]}.

    grows:  only its end changes, as a log's does
    digest: say the sha256 of the bytes that were sent
    """
    mark, number, root = BusyMark(), 0, workspace(parameters)
    _widen_stdout()
    try:
        for line in sys.stdin.buffer:
            for wanted in take(json.loads(line), "ranges", list):
                mark.touch()
                send_range(root, wanted, number, mark)
                number += 1
    finally:
        mark.remove()


def _widen_stdout() -> None:
    """sshd then takes up to a megabyte at a time instead of 64 KiB."""
    with suppress(OSError):  # it is no pipe
        fcntl.fcntl(1, F_SETPIPE_SZ, PIPE_BYTES)


def send_range(root: Path, wanted: Json, number: int, mark: BusyMark) -> None:
    """Send one range as the module says, or a line that the file is another one or cannot be read."""
    path = root / take(wanted, "path", str)
    offset, size = take(wanted, "offset", int), take(wanted, "n", int)
    try:
        # A fifo would wait for its writer, and a link may have come where the file was.
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        write_all(_line({"changed": number, "why": str(error.strerror), "is_final": error.errno in FINAL}))
        return
    try:
        if not is_same(os.fstat(file), wanted):
            write_all(_line({"changed": number, "why": "it is another file now"}))
        elif size <= TOGETHER_BYTES:
            _send_together(file, wanted, number)
        else:
            _send_long(file, path, wanted, number, mark, offset, size)
    finally:
        os.close(file)


def is_same(now: os.stat_result, wanted: Json) -> bool:
    """Return True when it is the file that was offered, and nobody has written to it."""
    if now.st_ino != take(wanted, "inode", int):
        return False
    if take(wanted, "grows", bool, False):
        return now.st_size >= wanted["size"]
    return now.st_size == wanted["size"] and now.st_mtime_ns == take(wanted, "mtime_ns", int)


def _send_together(file: int, wanted: Json, number: int) -> None:
    data = b""
    while len(data) < wanted["n"]:
        try:
            more = os.pread(file, wanted["n"] - len(data), wanted["offset"] + len(data))
        except OSError as error:  # a disk that cannot read it
            write_all(_line({"changed": number, "why": str(error.strerror), "is_final": True}))
            return
        if not more:
            write_all(_line({"changed": number, "why": CUT_OFF}))
            return
        data += more
    header = _line({"range": number, "n": len(data)})
    digest = hashlib.sha256(data).hexdigest() if take(wanted, "digest", bool, False) else None
    write_all(header + data + _line({"sent": number, "is_same": is_same(os.fstat(file), wanted), "sha256": digest}))


def _send_long(file: int, path: Path, wanted: Json, number: int, mark: BusyMark, offset: int, size: int) -> None:
    write_all(_line({"range": number, "n": size}))
    why, digest = "", hashlib.sha256() if take(wanted, "digest", bool, False) else None
    place, end = offset, offset + size
    while place < end:
        try:
            sent = _copy(file, place, min(CHUNK_BYTES, end - place), digest)
        except OSError as error:
            if error.errno != errno.EIO:  # nobody listens any more
                raise
            why, sent = str(error.strerror), 0
        if not sent:  # it was cut off meanwhile, or cannot be read; what was promised has to come all the same
            why, sent = why or CUT_OFF, min(CHUNK_BYTES, end - place)
            write_all(bytes(sent))
        place += sent
        mark.touch()
    same = not why and is_same(os.fstat(file), wanted) and _is_still_there(path, wanted)
    is_final = why not in ("", CUT_OFF)
    said = {"sent": number, "is_same": same, "why": why, "is_final": is_final}
    write_all(_line({**said, "sha256": digest.hexdigest() if digest else None}))


def _copy(file: int, offset: int, size: int, digest: hashlib._Hash | None) -> int:
    """From the file to stdout, through the kernel alone where it can."""
    if digest is None:
        with suppress(OSError):  # not every kind of stdout can be sent to
            return os.sendfile(1, file, offset, size)
    data = os.pread(file, size, offset)
    if digest is not None:
        digest.update(data)
    write_all(data)
    return len(data)


def _is_still_there(path: Path, wanted: Json) -> bool:
    """No other file has taken its name."""
    try:
        return path.lstat().st_ino == wanted["inode"]
    except OSError:
        return False


def _line(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
