"""A file on its way: `NAME.part`, and beside it a journal of what is there, from which anybody can go on.

The journal is a line {"identity", "size"} and then a line [from, to] for each range whose bytes are written. A line
is one write at the end of the file, so several processes may add to it; a torn last line is one that was not written.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..base.plain_json import lines_of, table

PART, JOURNAL = ".part", ".part.journal"
READ_BYTES = 1024 * 1024
# The disk gets to work while the rest still comes; syncing a gigabyte at its end takes seconds.
SYNC_BYTES = 64 * 1024 * 1024
# Ranges of a megabyte and more: a file of 60 GB with a gap after each.
MOST_APART = 120_000
JOURNAL_KEYS = {"identity", "size"}
Interval = tuple[int, int]
RANGE = re.compile(rb"\[(\d{1,18}), ?(\d{1,18})\]")


def part_path(target: Path) -> Path:
    """Return where a file's bytes lie until it is whole."""
    return target.with_name(target.name + PART)


def journal_path(target: Path) -> Path:
    """Return where it is noted which bytes of a file are there."""
    return target.with_name(target.name + JOURNAL)


def tidy(target: Path) -> None:
    """Take away a journal whose part has landed: whoever was killed between the two left it there."""
    journal = journal_path(target)
    with suppress(OSError, ValueError):
        if not part_path(target).exists() and set(table(next(lines_of(journal), b""))) == JOURNAL_KEYS:
            journal.unlink()


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same bytes as intervals that do not touch, in order."""
    done: list[Interval] = []
    for begin, end in sorted(intervals):
        if done and begin <= done[-1][1]:
            done[-1] = (done[-1][0], max(done[-1][1], end))
        else:
            done.append((begin, end))
    return done


def missing(there: Iterable[Interval], size: int, range_bytes: int) -> list[Interval]:
    """Return what is missing of `size` bytes, in pieces of at most `range_bytes`, in order."""
    gaps, place = [], 0
    for begin, end in [*merged(there), (size, size)]:
        while place < begin:
            stop = min(begin, place + range_bytes)
            gaps.append((place, stop))
            place = stop
        place = max(place, end)
    return gaps


class Part:
    """One file on its way to `target`; threads may write different ranges at once. Every method may raise OSError.

    identity: of the source as it was when it was begun; a part of another one is thrown away
    """

    def __init__(self, target: Path, identity: str, size: int) -> None:
        self.target, self.identity, self.size = target, identity, size
        self.path, self.journal = part_path(target), journal_path(target)
        self._there: list[Interval] = []
        # A descriptor that is closed under a writer is another file's a moment later.
        self._lock = threading.RLock()
        self._file: int | None = None
        self._log: int | None = None
        self._looked = 0  # so much of the journal was read
        self._is_given_up = False

    @property
    def there(self) -> list[Interval]:
        """Return the intervals whose bytes are written, merged."""
        with self._lock:
            return list(self._there)

    def open(self) -> None:
        """Go on with what is there, or begin. Opens by itself when it is written to, so many may be waiting closed."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            is_there = self._is_ours(self.path) and self._is_ours(self.journal)
            known = read_journal(self.journal, self.identity, self.size) if is_there else None
            if known is None:
                self.discard()
                self._begin()
            else:
                self._there = merged(known)
                self._file = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
                self._log = os.open(self.journal, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
            os.ftruncate(self._file or 0, self.size)

    @staticmethod
    def _is_ours(path: Path) -> bool:
        """A file of this user's: what somebody else put here could be changed after it was verified."""
        try:
            status = path.lstat()
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()

    def _begin(self) -> None:
        """Never through a link: what lies there under this name may be anybody's."""
        header = json.dumps({"identity": self.identity, "size": self.size}) + "\n"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        self._log = os.open(self.journal, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        os.write(self._log, header.encode())

    def _descriptors(self) -> tuple[int, int]:
        if self._file is None:
            self.open()
        assert self._file is not None
        assert self._log is not None
        return self._file, self._log

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes at an offset, which only `done` notes as there; once retired, do nothing."""
        with self._lock:
            if self._is_given_up:
                return
            file, _ = self._descriptors()
            written = os.pwrite(file, data, offset)
            while written < len(data):
                written += os.pwrite(file, data[written:], offset + written)

    def done(self, begin: int, end: int) -> None:
        """Note that bytes [begin, end) are written; from now on nobody sends them again."""
        with self._lock:
            if begin < end and not self._is_given_up:
                _, log = self._descriptors()
                os.write(log, b"[%d,%d]\n" % (begin, end))
                self._there = merged([*self._there, (begin, end)])

    def look(self) -> None:
        """Take in what other processes have noted as written since the last look."""
        with self._lock:
            if self._is_given_up:
                return
            _, log = self._descriptors()
            while data := os.pread(log, READ_BYTES, self._looked):
                lines, newline, _ = data.rpartition(b"\n")  # a torn last line may still become a whole one
                if not newline:
                    return
                self._looked += len(lines) + 1
                came = [one for line in lines.split(b"\n") if (one := _interval(line, self.size))]
                self._there = merged([*self._there, *came])

    def prefix(self) -> int:
        """Return how many bytes are there from the beginning on without a gap."""
        with self._lock:
            return self._there[0][1] if self._there and self._there[0][0] == 0 else 0

    def read(self, offset: int, size: int) -> bytes:
        """Read at most `size` bytes at an offset; b"" when it was retired."""
        with self._lock:
            return b"" if self._is_given_up else os.pread(self._descriptors()[0], size, offset)

    def sync(self) -> None:
        """Sync what was written. The disk may take its time; nobody who writes meanwhile has to wait."""
        with self._lock:
            if self._is_given_up:
                return
            twin = os.dup(self._descriptors()[0])
        try:
            os.fsync(twin)
        finally:
            os.close(twin)

    def retire(self) -> None:
        """Close it for good: nobody writes to it from here any more.

        A thread that comes late must not begin it anew.
        """
        with self._lock:
            self._is_given_up = True
            self.close()

    def forget(self) -> None:
        """Throw away what is there, which is not what was sent, and what is still to be written."""
        with self._lock:
            self.retire()
            self.discard()

    def adopt(self) -> None:
        """Take over `NAME.part` from another program that has written all of it. Raises OSError when it did not."""
        with self._lock:
            self.close()
            if self.path.lstat().st_size != self.size:
                raise OSError(errno.EIO, f"{self.path.lstat().st_size} of {self.size} bytes came", str(self.path))
            header = json.dumps({"identity": self.identity, "size": self.size}) + "\n"
            self.journal.write_text(header + (f"[0,{self.size}]\n" if self.size else ""))
            self.open()

    def discard(self) -> None:
        """Remove the part and its journal."""
        with self._lock:
            for path in (self.journal, self.path):
                path.unlink(missing_ok=True)
            self._there = []

    def land(self, *, mtime_ns: int | None = None) -> bool:
        """Sync it, then rename it to its name. The caller has verified it.

        False when it was retired, or another one has taken the name over meanwhile: begun anew here, it would put a
        file of zeros in the place of what the other has landed.
        """
        self.sync()
        with self._lock:
            if not self.is_there_still:
                return False
            if mtime_ns is not None:
                os.utime(self._descriptors()[0], ns=(mtime_ns, mtime_ns))
            self.retire()
            self.path.replace(self.target)
            self.journal.unlink(missing_ok=True)
            return True

    @property
    def is_there_still(self) -> bool:
        """Tell whether what lies under `NAME.part` is what was written to."""
        with self._lock:
            if self._is_given_up or self._file is None:
                return False
            try:
                return os.path.samestat(os.fstat(self._file), self.path.lstat())
            except FileNotFoundError:
                return False

    def close(self) -> None:
        """Close its files; it opens by itself when it is written to."""
        with self._lock:
            for descriptor in (self._file, self._log):
                if descriptor is not None:
                    os.close(descriptor)
            self._file = self._log = None


def read_journal(journal: Path, identity: str, size: int) -> list[Interval] | None:
    """Return the intervals it names; None when it is of another source, or cannot be read."""
    try:
        lines = lines_of(journal)
        if table(next(lines, b"")) != {"identity": identity, "size": size}:
            return None
        return _merged_as_read(interval for line in lines if (interval := _interval(line, size)))
    except (OSError, ValueError):
        return None


def _merged_as_read(intervals: Iterable[Interval]) -> list[Interval]:
    """A journal may have any number of lines; what they come to together is what is held."""
    known: list[Interval] = []
    for interval in intervals:
        known.append(interval)
        if len(known) >= MOST_APART:
            known = merged(known)
            if len(known) > MOST_APART // 2:
                raise ValueError(f"more than {MOST_APART // 2} ranges")
    return merged(known)


def _interval(line: bytes, size: int) -> Interval | None:
    if (said := RANGE.fullmatch(line)) is None:
        return None
    begin, end = int(said[1]), int(said[2])
    return (begin, end) if begin < end <= size else None


def copy_into(part: Part, source: Path) -> bool:
    """Write the bytes of a file of this machine into a part, as if they had come, and note them as there.

    Returns False, with nothing noted, when they are not those that its identity, a sha256, says, or cannot be read.
    """
    digest, offset = hashlib.sha256(), 0
    part.open()
    for data in _pieces(source):
        part.write(offset, data)
        digest.update(data)
        offset += len(data)
    if (offset, digest.hexdigest()) != (part.size, part.identity):
        return False
    part.done(0, part.size)
    return True


def _pieces(path: Path) -> Iterator[bytes]:
    with suppress(OSError), path.open("rb") as source:
        while data := source.read(READ_BYTES):
            yield data


class PrefixHash:
    """sha256 of a part, taken beside the writes: as far as it is there without a gap."""

    def __init__(self, part: Part) -> None:
        self.part, self.done = part, 0
        self._digest = hashlib.sha256()
        self._synced = 0

    def advance(self, limit: int = SYNC_BYTES) -> int:
        """Take in what has come since, at most `limit` bytes; returns how many those were. Raises OSError."""
        began, until = self.done, min(self.part.prefix(), self.done + limit)
        while self.done < until:
            data = self.part.read(self.done, min(READ_BYTES, until - self.done))
            if not data:
                break
            self._digest.update(data)
            self.done += len(data)
        if self.done - self._synced >= SYNC_BYTES:
            self.part.sync()
            self._synced = self.done
        return self.done - began

    @property
    def is_whole(self) -> bool:
        """Return True when every byte of the part was taken in."""
        return self.done == self.part.size

    def hexdigest(self) -> str:
        """Return the sha256 of what was taken in so far, in hex."""
        return self._digest.hexdigest()
