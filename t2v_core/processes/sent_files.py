"""Files from the first machine of a job to the others, through the store that its processes share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2v_core.disk.opening import open_file
from t2v_core.errors import WorkFailed
from t2v_core.processes.process_group import ProcessGroup

PIECE_BYTES = 8 * 2**20
# So many pieces lie in the store at most: memory of the first machine.
AHEAD = 4
POLL_S = 0.002
SILENCE_S = 120.0


@dataclass(frozen=True)
class SentFile:
    """path: relative, below a folder on either side"""

    path: str
    size_bytes: int


def files_below(folder: Path, top: Path) -> list[SentFile]:
    """Return the files of `top`, a folder or a file, named from `folder`, in a fixed order."""
    paths = sorted(path for path in top.rglob("*") if path.is_file()) if top.is_dir() else [top]
    return [SentFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]


def send(group: ProcessGroup, folder: Path, files: Sequence[SentFile], takers: int) -> None:
    """Send files to so many processes that `receive` them. Raises WorkFailed when they do not take them."""
    number = 0
    for one in files:
        with open_file(folder / one.path) as file:
            while data := file.read(PIECE_BYTES):
                if number >= AHEAD:
                    _taken(group, number - AHEAD, takers)
                group.store.put(_key(number), data)
                number += 1
    for last in range(max(0, number - AHEAD), number):
        _taken(group, last, takers)


def receive(group: ProcessGroup, folder: Path, files: Sequence[SentFile]) -> None:
    """Write what the first process sends below `folder`. Raises WorkFailed when it stops sending."""
    number = 0
    for one in files:
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            while file.tell() < one.size_bytes:
                key = _key(number)
                _soon(group, lambda key=key: group.store.has(key), f"{one.path} does not arrive")  # type: ignore[misc]
                file.write(group.store.take(key))
                group.store.add(f"{key}/taken", 1)
                number += 1


def _taken(group: ProcessGroup, number: int, takers: int) -> None:
    key = _key(number)
    _soon(group, lambda: group.store.add(f"{key}/taken", 0) >= takers, "the other hosts do not take the checkpoint")
    group.store.remove(key)


def _key(number: int) -> str:
    return f"sent/{number}"


def _soon(group: ProcessGroup, is_so: Callable[[], bool], wrong: str) -> None:
    deadline, look_at = time.monotonic() + SILENCE_S, 0.0
    while not is_so():
        now = time.monotonic()
        if now > look_at:
            group.check_stop()
            look_at = now + 0.2
        if now > deadline:
            raise WorkFailed(f"{wrong} within {SILENCE_S:g} s", "see the log of each host")
        time.sleep(POLL_S)
