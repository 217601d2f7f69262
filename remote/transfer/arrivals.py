"""What came is verified, synced and renamed here; whatever is not what was meant has to come again."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from remote.agent.transfer.parts import PrefixHash, copy_into, part_path, tidy
from remote.errors import DiskFull, RemoteError
from remote.jobs.client import HostJobs
from remote.replies.questions import SUMS
from remote.transfer.board import Board
from remote.transfer.incoming import Incoming, UnitState
from remote.transfer.plan.memory import ArrivedFiles
from remote.transfer.plan.pull_plan import SLOW_HASH_BYTES_PER_S, SUMS_TIMEOUT_S, UNIT_MARK, PlanItem, staging_of
from t2v_core.disk.files import describe_os_error, replace_directory, sync
from t2v_core.errors import EngineError

LANDERS = 4
# So many small files may wait for the disk, in memory, before the link has to wait as well.
WAITING_FILES = 24
WAKE_S = 0.5
LAST_TIME_NS = 2**62


class Arrivals:
    """Takes bytes of files, and gives each file its name when all of it is there and right.

    Every method may be called by any thread. `failed` holds the units of which something has to come again.
    """

    def __init__(self, jobs: HostJobs, items: Sequence[PlanItem], board: Board, memory: ArrivedFiles) -> None:
        self.jobs, self.board, self.memory = jobs, board, memory
        self.root = jobs.workspace.root
        self.failed: dict[str, str] = {}
        self.hopeless: dict[str, str] = {}
        self._states: dict[str, UnitState] = {}
        self._left = 0
        self._lock = threading.Lock()
        self._folders: set[Path] = set()
        self._ready: queue.Queue[Callable[[], None]] = queue.Queue(WAITING_FILES)
        self._stopped = threading.Event()
        self._landers: list[threading.Thread] = []
        self._items = items

    # What is to come

    def expect(self, small_bytes: int, *, copies: bool = False) -> list[Incoming]:
        """Return the files that have to come, in order; what an earlier try brought is counted as there.

        copies: what is here under another name is copied, and counted in the same way
        """
        expected: list[Incoming] = []
        for item in self._items:
            expected += self._expect_unit(item, small_bytes)
            if copies and item.twins:
                self._copy(item, expected[-len(item.unit.files) :])
        self._left = len(expected)
        return expected

    def _expect_unit(self, item: PlanItem, small_bytes: int) -> list[Incoming]:
        unit = item.unit
        if unit.is_sealed:
            self._prepare_staging(item)
        expected = [
            Incoming(unit, file, self.root, is_small=file.size <= small_bytes)
            for file in unit.files
            if not (unit.is_sealed and (staging_of(unit, self.root) / file.name).is_file())
        ]
        self._states[str(unit.path)] = UnitState(unit, len(expected))
        if not expected:
            self._land_folder(unit_state=self._states[str(unit.path)])
        for one in expected:
            if not one.is_small:  # how much is there; thousands at once would be too many open files
                one.part.open()
                one.part.close()
        return expected

    def _copy(self, item: PlanItem, expected: Sequence[Incoming]) -> None:
        """What is no longer what it was comes from the host."""
        for one in expected:
            twin = item.twins.get(one.file.name) if one.unit is item.unit and not one.is_small else None
            if twin is None or self.board.closed.is_set():
                continue
            try:
                copy_into(one.part, twin)
            except OSError as error:
                raise disk_error(error, one.target) from error
            finally:
                one.part.close()

    def _prepare_staging(self, item: PlanItem) -> None:
        """The folder in which it is put together; one of another content goes."""
        folder = staging_of(item.unit, self.root)
        mark = folder / UNIT_MARK
        if not mark.exists() or mark.read_text() != item.unit.identity:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            mark.write_text(item.unit.identity)

    # Bytes

    def take(self, one: Incoming, offset: int, data: bytes) -> None:
        """Take bytes of a file. Raises EngineError when the disk does not take them."""
        self.board.moved(len(data))
        if one.failed:
            return
        if one.is_small:
            one.data += data
            return
        try:
            one.part.write(offset, data)
        except OSError as error:
            raise disk_error(error, one.target) from error

    def took_range(self, one: Incoming, begin: int, end: int) -> None:
        """Note that all of [begin, end) was taken; from now on it need not come again."""
        if one.failed or one.is_small:
            return
        try:
            one.part.done(begin, end)
        except OSError as error:
            raise disk_error(error, one.target) from error
        one.wake()

    def broke_off(self, one: Incoming, begin: int, end: int) -> int:
        """Note that the link broke after [begin, end) of a range was taken; return where to go on."""
        if one.is_small:
            self.board.undone(len(one.data))
            one.data = bytearray()
            return 0
        self.took_range(one, begin, end)
        return end

    def took_small(self, one: Incoming, far_sha256: str | None) -> None:
        """Hand a small file that is there to the disk; wait when too many of them wait for it."""
        one.sha256 = one.sha256 or far_sha256
        while not self.board.closed.is_set():
            with suppress(queue.Full):
                self._ready.put(lambda: self._land_small(one), timeout=WAKE_S)
                return

    # Landing

    def start(self, big: Sequence[Incoming]) -> None:
        """Start the threads that land small files, and one that verifies the big ones as they come."""
        self._landers = [self._thread(self._land_ready) for _ in range(LANDERS)]
        if big:
            self._thread(lambda: self._verify_all(big))

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except EngineError as error:
                self.board.fail(error)
            except OSError as error:
                self.board.fail(disk_error(error, self.root))
            except Exception as error:  # noqa: BLE001 - a thread that ends without a word would be waited for for ever
                self.board.fail(error)

        thread = threading.Thread(target=run, name="arrivals", daemon=True)
        thread.start()
        return thread

    def _land_ready(self) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Empty):
                self._ready.get(timeout=WAKE_S)()

    def stop(self) -> None:
        """Stop landing small files, once the one in hand is done: the next pull writes under the same names."""
        self._stopped.set()
        for thread in self._landers:
            thread.join()

    @property
    def is_done(self) -> bool:
        """Tell whether every file has landed, or has to come again."""
        return self._left == 0

    def again(self, one: Incoming, why: str, *, is_final: bool = False) -> None:
        """Note that a file, and its unit with it, has to be begun again. is_final: that would not help"""
        with self._lock:
            if one.is_over:
                return
            one.fail(why)
            (self.hopeless if is_final else self.failed)[str(one.unit.path)] = why
            self._left -= 1

    def _land_small(self, one: Incoming) -> None:
        if one.is_over:
            return
        if hashlib.sha256(one.data).hexdigest() != one.sha256:
            self.again(one, "it does not match its sha256" if one.sha256 else "its sha256 was not given")
            return
        write_small(one.target, one.data, mtime_of(one))
        one.data = bytearray()
        self._landed_file(one)

    def _verify_all(self, big: Sequence[Incoming]) -> None:
        """In the order in which they come, so that the sum of a file is nearly taken when its last byte is there."""
        for one in big:
            sha256 = PrefixHash(one.part)
            while not (sha256.is_whole or one.is_over):
                if self.board.closed.is_set():
                    return
                if not sha256.advance():
                    with one.came:
                        one.came.wait(WAKE_S)
            if not one.is_over:
                self._judge(one, sha256.hexdigest())

    def _judge(self, one: Incoming, digest: str) -> None:
        try:
            expected = one.sha256 or self._sum_of(one)
        except RemoteError as error:
            self.again(one, error.message)
            return
        if digest == expected:
            self._land(one)
            return
        one.part.forget()
        self.again(one, "it does not match its sha256" if one.sha256 else "it was written to while it was read")

    def _sum_of(self, one: Incoming) -> str | None:
        """Taken there now, of a file that is still the one that was offered; that is the last look at it."""
        timeout_s = SUMS_TIMEOUT_S + one.file.size / SLOW_HASH_BYTES_PER_S
        for said in self.jobs.ask(SUMS, timeout_s=timeout_s, paths=[one.far_path]).files:
            if (said.size, said.mtime_ns, said.inode) == (one.file.size, one.file.mtime_ns, one.file.inode):
                return said.sha256
        return None

    def _land(self, one: Incoming) -> None:
        if one.part.land(mtime_ns=mtime_of(one)):
            self._landed_file(one)
        else:
            self.again(one, "another pull took it over")

    def _landed_file(self, one: Incoming) -> None:
        one.is_landed = True
        self.board.verified()
        with self._lock:
            self._folders.add(one.target.parent)
        state = self._states[str(one.unit.path)]
        if state.one_landed():
            self._land_folder(state) if one.unit.is_sealed else self._landed(state)
        with self._lock:
            self._left -= 1

    def _land_folder(self, unit_state: UnitState) -> None:
        """All its files are in the staging folder: it gets its name."""
        unit = unit_state.unit
        folder = staging_of(unit, self.root)
        (folder / UNIT_MARK).unlink()
        for file in unit.files:
            tidy(folder / file.name)
        for place in {(folder / file.name).parent for file in unit.files}:
            sync(place)
        replace_directory(folder, self.root / unit.path)
        with self._lock:
            self._folders.discard(folder)
            self._folders.add((self.root / unit.path).parent)
        self._landed(unit_state)

    def _landed(self, state: UnitState) -> None:
        with self._lock:
            self.memory.note(state.unit.path, state.unit.identity)
        self.board.landed(str(state.unit.path))

    def settle(self, incoming: Sequence[Incoming]) -> None:
        """Close what is open for good, and have the disk keep the new names."""
        for one in incoming:
            one.part.retire()
        for folder in self._folders:
            if folder.is_dir():
                sync(folder)


def mtime_of(one: Incoming) -> int:
    """Return its time of change as it is there, in ns, brought into the range that can be one here."""
    return max(0, min(one.file.mtime_ns, LAST_TIME_NS))


def write_small(target: Path, data: bytes | bytearray, mtime_ns: int) -> None:
    """Write, sync and rename a verified file that is in memory, with as little ado as that takes."""
    part, flags = part_path(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        file = os.open(part, flags, 0o644)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(part, flags, 0o644)
    except FileExistsError:  # of a try that was killed
        part.unlink()
        file = os.open(part, flags, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.utime(file, ns=(mtime_ns, mtime_ns))
        os.fsync(file)
    finally:
        os.close(file)
    part.replace(target)
    tidy(target)  # an earlier content of it may have come in ranges, in part


def disk_error(error: OSError, path: Path) -> EngineError:
    """Return the typed error for what the disk said while `path` was written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"the disk is full: only part of {path} arrived",
            "free some space and pull again: it resumes where it stopped",
        )
    return describe_os_error(error, path)
