"""A control group of Linux: how much CPU time its processes took, and how much they may take. It takes root."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT, PERIOD_US = Path("/sys/fs/cgroup"), 100_000
END_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class CpuGroup:
    """count: the folder that counts; hold: the one that limits; both the same where there is one hierarchy"""

    count: Path
    hold: Path

    @property
    def seconds(self) -> float:
        """Of CPU, by all that are or were in it."""
        if (usage := self.count / "cpuacct.usage").exists():
            return int(usage.read_text()) / 1e9
        lines = (self.count / "cpu.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("usage_usec")) / 1e6

    def take(self, pid: int) -> None:
        for folder in {self.count, self.hold}:
            (folder / "cgroup.procs").write_text(str(pid))

    def within(self, argv: Sequence[str]) -> list[str]:
        """The same command, in the group from its first instruction on."""
        enter = "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in {self.count, self.hold})
        return ["sh", "-c", enter + 'exec "$@"', "sh", *argv]

    def limit(self, cores: float | None) -> None:
        """Let all of it together take so much of one core; None: as much as there is."""
        quota = -1 if cores is None else int(cores * PERIOD_US)
        if (file := self.hold / "cpu.cfs_quota_us").exists():
            file.write_text(str(quota))
        else:
            (self.hold / "cpu.max").write_text(f"{'max' if quota < 0 else quota} {PERIOD_US}")


@contextmanager
def cpu_group(name: str) -> Iterator[CpuGroup]:
    name = f"t2v-{name}-{os.getpid()}"
    is_split = (ROOT / "cpuacct").is_dir()
    folders = [ROOT / "cpuacct" / name, ROOT / "cpu" / name] if is_split else [ROOT / name]
    for folder in folders:
        folder.mkdir()
    try:
        yield CpuGroup(folders[0], folders[-1])
    finally:
        for folder in folders:
            _remove(folder)


def _remove(folder: Path) -> None:
    """What still runs in it goes back to the root."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while folder.exists() and time.monotonic() < deadline:
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(OSError):  # it has ended
                (folder.parent / "cgroup.procs").write_text(pid)
        with suppress(OSError):  # the system is not done with it yet
            folder.rmdir()
            return
        time.sleep(0.1)
