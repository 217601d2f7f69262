"""A folder that keeps files from elsewhere within a size: what was not used for longest makes room for what comes.

    <sha256>                      a whole file, whose bytes have that sha256; its date is that of its last use
    <sha256>.<size>.coming        one that is on its way; so many bytes are counted for it

Files are named by their bytes, so any number of runs, of processes and of data sets may share the folder. A lock for
each file that comes, and one for the folder while room is made, end with the process that holds them, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from t2v_core.disk.files import describe_os_error, require_space, sha256, sync
from t2v_core.disk.private import make_folder
from t2v_core.errors import InvalidRequest, WorkFailed
from t2v_core.format import size

COMING, LOCK, ROOM = ".coming", ".lock", ".room"
POLL_S = 0.05
# A use is written down once in so many seconds: it costs a call of the system for each row that is read.
USED_S = 5.0
# Writes the bytes of a file to the end of what is there of it; what it raises leaves them for the next time.
Fetch = Callable[[Path], None]


@dataclass(frozen=True)
class CachedFile:
    """What is to be kept. where: in words, for errors; fetch: brings it, or what is missing of it"""

    sha256: str
    size_bytes: int
    where: str
    fetch: Fetch


class BoundedCache:
    """One process's view of the folder.

    limit_bytes: that its files take at most; the names of locks are not counted
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        self._used: dict[str, float] = {}
        try:
            make_folder(folder)
        except OSError as error:
            raise describe_os_error(error, folder) from error

    def path_of(self, file: CachedFile) -> Path:
        """Return where a file lies, after fetching it if need be; it may go again as soon as another needs its room.

        Raises InvalidRequest for one that is larger than the folder may be, WorkFailed for one whose bytes are not
        those that its sha256 says, and what `fetch` raises.
        """
        path = self.folder / file.sha256
        if self._is_there(path, file):
            return path
        if file.size_bytes > self.limit_bytes:
            raise InvalidRequest(
                f"{file.where} has {size(file.size_bytes)}, and the cache may take {size(self.limit_bytes)}",
                hint="a larger --latents-cache-gb",
            )
        try:
            with self._held(f"{file.sha256}{LOCK}", wait=True):
                if not self._is_there(path, file):
                    self._bring(path, file)
        except OSError as error:
            raise describe_os_error(error, path) from error
        return path

    def bring_ahead(self, file: CachedFile) -> None:
        """Fetch a file that is needed soon, unless it is there or another process is at it."""
        path = self.folder / file.sha256
        with suppress(BlockingIOError), self._held(f"{file.sha256}{LOCK}", wait=False):
            self._used.pop(file.sha256, None)  # those that come next are not what makes room
            if not self._is_there(path, file):
                self._bring(path, file)

    def _is_there(self, path: Path, file: CachedFile) -> bool:
        now = time.monotonic()
        try:
            if path.stat().st_size != file.size_bytes:
                path.unlink()
                return False
            if now - self._used.get(file.sha256, -USED_S) >= USED_S:
                os.utime(path)
                self._used[file.sha256] = now
        except FileNotFoundError:
            return False
        return True

    def _bring(self, path: Path, file: CachedFile) -> None:
        coming = self.folder / f"{file.sha256}.{file.size_bytes}{COMING}"
        self._make_room(coming, file)
        for attempt in (1, 2):
            is_taken_up = coming.stat().st_size > 0
            file.fetch(coming)
            if sha256(coming) == file.sha256:
                break
            os.truncate(coming, 0)  # it was begun by another one, or was changed over there meanwhile
            if attempt == 2 or not is_taken_up:
                coming.unlink()
                raise WorkFailed(
                    f"{file.where} is not what its manifest says: its sha256 is another one",
                    hint="bring the folder there again, whole",
                )
        sync(coming)
        coming.replace(path)
        self._used[file.sha256] = time.monotonic()

    def _make_room(self, coming: Path, file: CachedFile) -> None:
        """Count a file in, once others have made room for it; those that are on their way are waited for."""
        while True:
            with self._held(ROOM, wait=True):
                over = self._taken(but=coming.name) + file.size_bytes - self.limit_bytes
                for path, taken in self._by_use():
                    if over <= 0:
                        break
                    with suppress(FileNotFoundError):
                        path.unlink()
                        over -= taken
                over -= self._given_up(coming) if over > 0 else 0
                if over <= 0:
                    coming.touch()
                    break
                coming.unlink(missing_ok=True)  # of two that wait, each would count what the other had begun
            time.sleep(POLL_S)
        require_space(coming, file.size_bytes - coming.stat().st_size, file.where)

    def _by_use(self) -> list[tuple[Path, int]]:
        """The whole files with their sizes, the one first that was not used for longest."""
        found = []
        for path in self._files(""):
            with suppress(FileNotFoundError):
                state = path.stat()
                found.append((state.st_mtime_ns, path, state.st_size))
        return [(path, taken) for _, path, taken in sorted(found)]

    def _taken(self, *, but: str) -> int:
        coming = sum(_promised(path) for path in self._files(COMING) if path.name != but)
        return coming + sum(taken for _, taken in self._by_use())

    def _given_up(self, own: Path) -> int:
        """Remove what somebody began to fetch and fetches no more; returns how much that is."""
        freed = 0
        for path in self._files(COMING):
            if path == own:
                continue
            with suppress(BlockingIOError), self._held(f"{path.name.partition('.')[0]}{LOCK}", wait=False):
                freed += _promised(path)
                path.unlink(missing_ok=True)
        return freed

    def _files(self, suffix: str) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.suffix == suffix and path.name != ROOM]

    @contextmanager
    def _held(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold a lock. Raises BlockingIOError when it is held and there is to be no waiting."""
        with (self.folder / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield


def _promised(path: Path) -> int:
    count = path.name.split(".")[1]
    return int(count) if count.isdecimal() else 0
