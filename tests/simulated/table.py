"""The process table as the agent reads it in /proc, told out of the kernel's memory."""

from __future__ import annotations

from collections.abc import Callable

from .kernel import Kernel, Process


class Table:
    """Stands where /proc does. may_pause: called at each look, in which others may run"""

    def __init__(self, kernel: Kernel, may_pause: Callable[[], None]) -> None:
        self.kernel, self.may_pause = kernel, may_pause

    def __truediv__(self, pid: str) -> Entry:
        return Entry(self, pid)

    def glob(self, _: str) -> list[Entry]:
        """Return the folders of all processes: nothing else is asked for."""
        return [self / str(pid) for pid in self.pids()]

    def pids(self) -> list[int]:
        return sorted(self.kernel.processes)


class Entry:
    """The folder of a process, or a file in it."""

    def __init__(self, table: Table, name: str, file: str = "") -> None:
        self.table, self.name, self.file = table, name, file

    def __truediv__(self, file: str) -> Entry:
        return Entry(self.table, self.name, file)

    def read_bytes(self) -> bytes:
        """Raises FileNotFoundError when it is gone."""
        self.table.may_pause()
        one = self.table.kernel.processes.get(int(self.name))
        if one is None:
            raise FileNotFoundError(2, "No such file or directory", f"/proc/{self.name}/{self.file}")
        return SAID[self.file](one)


def stat(one: Process) -> bytes:
    fields = ["S", one.parent, one.group, one.session, 0, *[0] * 14, one.start_ticks]
    return f"{one.pid} (python) {' '.join(map(str, fields))}\n".encode()


def environ(one: Process) -> bytes:
    return "\0".join(f"{name}={value}" for name, value in one.environment.items()).encode() + b"\0"


def cmdline(one: Process) -> bytes:
    return "\0".join(one.argv).encode() + b"\0"


SAID: dict[str, Callable[[Process], bytes]] = {"stat": stat, "environ": environ, "cmdline": cmdline}
