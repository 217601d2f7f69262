"""Bytes of a file that grows and is renamed under its reader, from an offset on."""

from __future__ import annotations

import os
import re
import select
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .processes import libc

CHUNK_BYTES = 256 * 1024
NUMBERED = re.compile(r"\.\d{5,}")


class Segment(NamedTuple):
    path: Path
    inode: int
    size_bytes: int


def segments_of(directory: Path, name: str) -> list[Segment]:
    """Return the files that make up one stream of bytes, in order: name.00000, name.00001 …, then name."""
    found = []
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name == name or (entry.name.startswith(name) and NUMBERED.fullmatch(entry.name, len(name))):
                with suppress(FileNotFoundError):  # renamed just now: it is in the list again, or in the next
                    status = entry.stat()
                    found.append(Segment(directory / entry.name, status.st_ino, status.st_size))
    return sorted(found, key=lambda segment: (segment.path.name == name, segment.path.name))


def size_of(directory: Path, name: str) -> int:
    """Return the bytes of a stream, all its segments together."""
    return sum(segment.size_bytes for segment in segments_of(directory, name))


class ByteStream:
    """Reads `name` with its segments from an offset on; whoever writes may rename `name` to the next segment."""

    def __init__(self, directory: Path, name: str, offset: int) -> None:
        self.directory, self.name, self.offset = directory, name, offset
        self._file: int | None = None
        self._inode, self._place = 0, 0

    def read(self, size: int) -> bytes:
        """Return the next bytes; b"" when there are none now."""
        if self._file is None and not self._open_at_offset():
            return b""
        data = self._read(size)
        while not data and self._has_successor():
            data = self._read(size)  # what came between the last look and the successor
            if not data:
                self._open(*self._successor())
                data = self._read(size)
        self.offset += len(data)
        return data

    def _read(self, size: int) -> bytes:
        assert self._file is not None
        data = os.pread(self._file, size, self._place)
        self._place += len(data)
        return data

    def _open_at_offset(self) -> bool:
        before = 0
        segments = segments_of(self.directory, self.name)
        for segment in segments:
            is_last = segment is segments[-1]
            if self.offset < before + segment.size_bytes or (is_last and self.offset == before + segment.size_bytes):
                return self._open(segment, self.offset - before)
            before += segment.size_bytes
        return False  # nothing yet, or less than was read: a power cut takes what had not reached the disk

    def _open(self, segment: Segment, place: int = 0) -> bool:
        """False when the name is another file's by now; then look again."""
        try:
            file = os.open(segment.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        if os.fstat(file).st_ino != segment.inode:
            os.close(file)
            return False
        if self._file is not None:
            os.close(self._file)
        self._file, self._inode, self._place = file, segment.inode, place
        return True

    def _has_successor(self) -> bool:
        segments = segments_of(self.directory, self.name)
        return any(segment.inode == self._inode for segment in segments[:-1])

    def _successor(self) -> tuple[Segment, int]:
        segments = segments_of(self.directory, self.name)
        place = next(number for number, segment in enumerate(segments) if segment.inode == self._inode)
        return segments[place + 1], 0


class Watch:
    """Wakes when something in a folder changes: inotify, or a look every 20 ms where there is none."""

    MODIFY_MOVE_CREATE = 0x2 | 0x40 | 0x80 | 0x100

    def __init__(self, directory: Path) -> None:
        self.descriptors = [0]
        with suppress(OSError, AttributeError):
            descriptor = libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            if (
                descriptor >= 0
                and libc().inotify_add_watch(descriptor, os.fsencode(directory), self.MODIFY_MOVE_CREATE) >= 0
            ):
                self.descriptors.append(descriptor)

    def wait(self, timeout_s: float) -> bool:
        """Wait for a change; False when the reader at the other end of stdin is gone."""
        has_inotify = len(self.descriptors) == 2
        ready = select.select(self.descriptors, [], [], max(0.0, timeout_s) if has_inotify else 0.02)[0]
        if has_inotify and self.descriptors[1] in ready:
            os.read(self.descriptors[1], 65536)
        return 0 not in ready or bool(os.read(0, 4096))
