"""A disk that takes no more when it is full, and that loses to a power cut what had not been brought to it.

As ext4 does it: names are changed in order, a sync of any file brings all changes before it to the disk, and what was
written without a sync stays in memory for half a minute. What lies in /run needs no disk.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

WRITTEN_BACK_S = 30.0
SYNCED_WITHIN_S = 1.0
BLOCK_BYTES = 4096


class Disk:
    """is_full: whoever wants a block gets none; spare_blocks: those that somebody gave up since

    chance: decides what a cut takes and which call of several notices that the disk is full
    giver:  returns the process that asks
    """

    def __init__(
        self, memory: Path, now: Callable[[], float], chance: random.Random, giver: Callable[[], object]
    ) -> None:
        self.memory, self.now, self.chance, self.giver = str(memory), now, chance, giver
        self.is_full, self.spare_blocks = False, 0
        self.names: list[tuple[float, str, Callable[[], object], object]] = []
        self.orphans: set[str] = set()
        self.appended: dict[str, list[tuple[float, int]]] = {}

    def want_block(self, path: str) -> None:
        """Raises OSError when there is none."""
        if not self.is_full or path.startswith(self.memory):
            return
        if self.spare_blocks > 0:
            self.spare_blocks -= 1
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def name_changed(self, path: str, undo: Callable[[], object]) -> None:
        self.names.append((self.now(), path, undo, self.giver()))

    def was_killed(self, process: object) -> None:
        """It syncs no more what it has named."""
        self.orphans |= {path for _, path, _, giver in self.names if giver is process}

    def has_replaced(self, source: str, target: str, before: bytes | None) -> None:
        content = Path(target).read_bytes() if Path(target).is_file() else None

        def undo() -> None:
            if content is None:
                with suppress(OSError):
                    Path(target).rename(source)
            elif before is None:
                Path(target).unlink(missing_ok=True)
            else:
                Path(target).write_bytes(before)

        self.name_changed(target, undo)

    def has_made(self, path: str) -> None:
        self.name_changed(path, lambda: Path(path).unlink(missing_ok=True))

    def has_made_folder(self, path: str) -> None:
        self.name_changed(path, lambda: shutil.rmtree(path, ignore_errors=True))

    def has_removed(self, path: str, before: bytes) -> None:
        if self.is_full:
            self.spare_blocks += len(before) // BLOCK_BYTES
        self.name_changed(path, lambda: Path(path).parent.is_dir() and Path(path).write_bytes(before))

    def appends(self, path: str) -> None:
        """Before bytes are added without a sync."""
        size = os.path.getsize(path)  # called for each line of a log
        self.appended.setdefault(path, []).append((self.now(), size))

    def synced(self, path: str) -> None:
        self.names.clear()
        self.orphans.clear()
        self.appended.pop(path, None)

    def lose_what_was_not_synced(self) -> list[str]:
        """The power is cut. Returns the lost names whose giver meant to sync: given just now, or by one that died."""
        young = [name for name in self.names if self.now() - name[0] < WRITTEN_BACK_S]
        lost = young[self.chance.randint(0, len(young)) :]
        for _, _, undo, _ in reversed(lost):
            undo()
        orphans = frozenset(self.orphans)
        for path, sizes in self.appended.items():
            late = [size for when, size in sizes if self.now() - when < WRITTEN_BACK_S]
            if late and Path(path).exists():
                size = Path(path).stat().st_size
                os.truncate(path, self.chance.randint(min(late[0], size), size))
        self.all_is_written()
        return [path for when, path, *_ in lost if self.now() - when < SYNCED_WITHIN_S or path in orphans]

    def all_is_written(self) -> None:
        """The machine goes down in order."""
        self.names.clear()
        self.orphans.clear()
        self.appended.clear()
