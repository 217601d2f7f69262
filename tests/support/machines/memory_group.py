"""A group of processes with little memory, in which the kernel really kills what takes more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.hosts.agent_here import wait_until
from support.house.needs import leave_out

TOP = Path("/sys/fs/cgroup")


@contextmanager
def memory_group(*, limit_bytes: int) -> Iterator[Path]:
    """Yield the group's folder: a process joins by its number in `cgroup.procs`. Waits at the end until all have left.

    Skips the test where this user cannot make one.
    """
    group = _made(f"t2v-test-{os.getpid()}", limit_bytes)
    try:
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text().strip())
        group.rmdir()


def _made(name: str, limit_bytes: int) -> Path:
    for parent, limit in ((TOP / "memory", "memory.limit_in_bytes"), (TOP, "memory.max")):
        with suppress(OSError):
            if (parent / "cgroup.procs").exists():
                (parent / name).mkdir()
                (parent / name / limit).write_text(str(limit_bytes))
                return parent / name
    return leave_out("cgroup")
