"""What is written last of a job must land on a full disk as well: a few kilobytes of its folder are kept for that.

`.reserve` is made with the job, while there is room, and becomes `exit.json` when there is none: its blocks are the
job's own, whoever else fills the disk. Where a file cannot be written in place (btrfs, ZFS), it is given up instead.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from ..base.files import Json, sync_folder, write_json, write_whole
from ..base.processes import this_moment

RESERVE, RESERVE_BYTES = ".reserve", 16 * 1024
EXIT = "exit.json"
# A file in the directory of a job that was told to end since the machine was about to be taken away.
PREEMPTED = "preempted"
# A time of modification needs no block: so is a job marked whose end is known and cannot be written down.
AWAITS_ROOM_T = 1.0


def keep_reserve(directory: Path) -> None:
    """Write the reserve. Raises OSError when the disk is full already."""
    (directory / RESERVE).write_bytes(bytes(RESERVE_BYTES))


def leave_mark(directory: Path, name: str) -> None:
    """Leave a file in a job's directory whose name says all; where no file can be made, another name of its spec.

    That takes no block and no inode, so that a job is stopped on a full disk as well. Raises OSError.
    """
    try:
        write_whole(directory / name, "")
    except OSError:
        with suppress(FileExistsError):  # it is there by now
            os.link(directory / "spec.json", directory / name)
        sync_folder(directory)


def write_exit(directory: Path, ended: Json) -> None:
    """Write `exit.json`, out of the reserve when there is no other room. Raises OSError.

    is_preempted: a notice that comes after it changes nothing
    boot_id, up_s: when it was written, which may be long after the end; the guard counts by it
    """
    sync_streams(directory)
    ended = {**ended, "is_preempted": (directory / PREEMPTED).exists(), **this_moment()}
    try:
        write_json(directory / EXIT, ended)
    except OSError:
        spend_reserve(directory, ended)
    (directory / RESERVE).unlink(missing_ok=True)


def sync_streams(directory: Path) -> None:
    """Sync what the job wrote before how it ended: else a power cut leaves a `done` that no event tells."""
    for name in ("events.jsonl", "log"):
        with suppress(OSError):  # it wrote none
            descriptor = os.open(directory / name, os.O_RDONLY | os.O_NONBLOCK)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def spend_reserve(directory: Path, ended: Json) -> None:
    """Write `exit.json` over the reserve; where that fails, give the reserve up and write it anew. Raises OSError."""
    reserve = directory / RESERVE
    try:
        with reserve.open("r+b") as file:
            file.write(json.dumps(ended, indent=2).encode() + b"\n")
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        reserve.replace(directory / EXIT)
        sync_folder(directory)
    except OSError:
        reserve.unlink(missing_ok=True)
        write_json(directory / EXIT, ended)


def mark_awaiting_room(directory: Path) -> None:
    """Mark a job whose end is known and cannot be written down, by its lock's time; a failure is passed over."""
    with suppress(OSError):
        os.utime(directory / "lock", (AWAITS_ROOM_T, AWAITS_ROOM_T))


def awaits_room(directory: Path) -> bool:
    """Return True when a job's processes are gone and its supervisor waits for room to say how it ended."""
    try:
        return (directory / "lock").stat().st_mtime == AWAITS_ROOM_T
    except OSError:
        return False
