"""What programs ask the system for. On the simulated machine its kernel and its disk answer, elsewhere the real one.

Only what the agent and the engine call is here. Reading files, locks (flock) and folders are the real system's.
"""

from __future__ import annotations

import builtins
import io
import os
import random
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .disk import Disk
from .kernel import Exited, Kernel

PAUSES_AT_LOOKS = 0.1
WRITES = frozenset("wax")
PIECE_BYTES = 2**16
FIRST_PIPE = 1_000_000
UTC_S = time.gmtime


def read(path: Any, mode: str, errors: str) -> io.BytesIO | io.StringIO:
    """Return what is in a file now, as an opened one: nobody writes before it is read."""
    descriptor = REAL["os.open"](path, os.O_RDONLY)
    try:
        data = b"".join(iter(lambda: REAL["os.read"](descriptor, PIECE_BYTES), b""))
    finally:
        REAL["os.close"](descriptor)
    return io.BytesIO(data) if "b" in mode else io.StringIO(data.decode(errors=errors))


class Pipe:
    def __init__(self) -> None:
        self.data = b""


class Calls:
    """programs: what stands in the place of a program that is begun, by its arguments: (process's work, its name)"""

    def __init__(self, kernel: Kernel, disk: Disk, chance: random.Random) -> None:
        self.kernel, self.disk, self.chance = kernel, disk, chance
        self.pipes: list[Pipe] = []
        self.exec: Callable[[list[str]], int] = lambda _: 0
        self.popen: Callable[..., Any] = self.nothing
        self.has_named: Callable[[str], None] = lambda _: None
        self.locks: set[int] = set()

    def _process(self) -> Any:
        assert self.kernel.current is not None
        return self.kernel.current.process

    def _stamp(self, path: str) -> None:
        """Its times are those of the machine's clock."""
        wall = self.time()
        for one in (path, os.path.dirname(path)):  # called for each change
            try:
                REAL["os.utime"](one, (wall, wall))
            except OSError:
                return

    # Files

    def may_pause(self) -> None:
        """Between two looks others may change what is looked at; whoever is no program (the test) sees one moment."""
        task = self.kernel.current
        if task is not None and task.thread is not None and self.chance.random() < PAUSES_AT_LOOKS:
            self.kernel.call(is_change=False)

    def open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if flags & os.O_CREAT:
            self.kernel.call(is_change=not os.path.lexists(path))
            if not os.path.lexists(path):
                self.disk.want_block(os.fspath(path))
                descriptor = REAL["os.open"](path, flags, mode, **more)
                self.disk.has_made(os.fspath(path))
                self._stamp(os.fspath(path))
                self._process().files.add(descriptor)
                self.locks.add(descriptor)
                return int(descriptor)
        self.may_pause()
        descriptor = REAL["os.open"](path, flags, mode, **more)
        self._process().files.add(descriptor)
        if flags & os.O_RDWR:  # as locks are opened that are held, and not only looked at
            self.locks.add(descriptor)
        return int(descriptor)

    def io_open(self, file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if isinstance(file, int):
            self._process().files.discard(file)  # it is the opened file's by now, which closes it
        if isinstance(file, int) or not WRITES & set(mode):
            self.may_pause()
            if not isinstance(file, int) and "+" not in mode:
                return read(file, mode, (rest[2] if len(rest) > 2 else more.get("errors")) or "strict")
            return REAL["io.open"](file, mode, *rest, **more)
        self.kernel.call()
        path = os.fspath(file)
        is_new = not os.path.lexists(path)
        # A full disk is noticed when a block is wanted: sometimes for the name, else for what is in it.
        if self.chance.random() < 0.5 or mode == "wb":
            self.disk.want_block(path)
        if more.pop("opener", None):
            REAL["os.close"](REAL["os.open"](path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        opened = REAL["io.open"](file, mode, *rest, **more)
        if is_new:
            self.disk.has_made(path)
            self._stamp(path)
        return opened

    def close(self, descriptor: int) -> None:
        process = self._process()
        if descriptor >= FIRST_PIPE:
            process.pipes.discard(descriptor)
            self.kernel.changed()
            return
        if descriptor in process.files:
            process.files.discard(descriptor)
            REAL["os.close"](descriptor)
            if descriptor in self.locks:
                self.locks.discard(descriptor)
                self.kernel.changed()

    def write(self, descriptor: int, data: Any) -> int:
        self.kernel.call()
        if descriptor >= FIRST_PIPE:
            self.pipes[(descriptor - FIRST_PIPE) // 2].data += bytes(data)
            return len(data)
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # it is a text that is wanted
        self.disk.want_block(path)
        self.disk.appends(path)
        return int(REAL["os.write"](descriptor, data))

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self.kernel.call()
        if os.fstat(descriptor).st_size == 0:
            self.disk.want_block(os.readlink(f"/proc/self/fd/{descriptor}"))
        return int(REAL["os.pwrite"](descriptor, data, offset))

    def fsync(self, descriptor: int) -> None:
        self.kernel.call()
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if "/.partial-" in path:
            self.disk.want_block(path)
        self.disk.synced(path)

    def replace(self, source: Any, target: Any, **_: Any) -> None:
        self.kernel.call()
        source, target = os.fspath(source), os.fspath(target)
        before = Path(target).read_bytes() if os.path.isfile(target) else None
        REAL["os.replace"](source, target)
        self.disk.has_replaced(source, target, before)
        self._stamp(target)
        self.has_named(target)

    def link(self, source: Any, target: Any) -> None:
        """Another name for what is there needs no block."""
        self.kernel.call()
        source, target = os.fspath(source), os.fspath(target)
        REAL["os.link"](source, target)
        self.disk.has_made(target)
        self._stamp(os.path.dirname(target))
        self.has_named(target)

    def unlink(self, path: Any, **more: Any) -> None:
        if not more and not os.path.lexists(path):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        self.kernel.call()
        before = b"" if more else Path(path).read_bytes()
        REAL["os.unlink"](path, **more)
        if not more:
            self.disk.has_removed(os.fspath(path), before)
            self._stamp(os.fspath(path))

    def mkdir(self, path: Any, mode: int = 0o777) -> None:
        self.kernel.call()
        if not os.path.lexists(path):
            self.disk.want_block(os.fspath(path))
        REAL["os.mkdir"](path, mode)
        self.disk.has_made_folder(os.fspath(path))
        self._stamp(os.fspath(path))

    def utime(self, path: Any, times: Any = None, **_: Any) -> None:
        self.kernel.call()
        REAL["os.utime"](path, times or (self.time(), self.time()))

    # Processes

    def getpid(self) -> int:
        return int(self._process().pid)

    def kill(self, pid: int, number: int) -> None:
        self.kernel.call()
        self.kernel.send(pid, number)

    def fork(self) -> int:
        """Only to leave the parent behind: who goes on is the child."""
        return 0

    def setsid(self) -> None:
        one = self._process()
        one.group = one.session = one.pid

    def forked(self, work: Callable[[], object]) -> int:
        self.kernel.call()
        one = self._process()
        child = self.kernel.begin("engine", work, parent=one.pid, environment=one.environment, argv=one.argv)
        child.pipes = set(one.pipes)
        child.handlers = dict(one.handlers)
        return child.pid

    def execvpe(self, program: str, argv: list[str], environment: dict[str, str]) -> None:
        self.kernel.call()
        if not os.path.lexists(program):
            raise FileNotFoundError(2, "No such file or directory", program)
        one = self._process()
        one.argv, one.environment = list(argv), {name: environment[name] for name in ("T2V_JOB",)}
        one.pipes.clear()
        self.kernel.changed()
        self.exit(self.exec(list(argv)))

    def exit(self, code: int) -> None:
        if self._process().ended is None:
            self.kernel.end(self._process(), code << 8)
        raise Exited(code)

    def waitpid(self, pid: int, options: int = 0) -> tuple[int, int]:
        me = self._process().pid

        def dead() -> list[Any]:
            return [one for one in self.kernel.zombies if one.parent == me and pid in (-1, one.pid)]

        def lives() -> bool:
            return any(one.parent == me and pid in (-1, one.pid) for one in self.kernel.processes.values())

        self.kernel.call(is_change=False)
        if not dead() and not lives():
            raise ChildProcessError(10, "No child processes")
        if options & os.WNOHANG and not dead():
            return 0, 0
        self.kernel.wait_until(lambda: bool(dead()))
        one = dead()[0]
        self.kernel.zombies.remove(one)
        return one.pid, int(one.ended)

    def pidfd_open(self, pid: int) -> Any:
        if pid not in self.kernel.processes:
            raise ProcessLookupError(3, "No such process")
        return -pid

    def select(self, ready: list[int], *_: Any) -> Any:
        """Waits for the end of the processes of `pidfd_open`; -pid is closed by nobody."""
        self.kernel.wait_until(lambda: -ready[0] not in self.kernel.processes)
        return ready, [], []

    def signal(self, number: int, handler: Any) -> Any:
        before = self._process().handlers.get(number, signal.SIG_DFL)
        self._process().handlers[int(number)] = handler
        return before

    # Pipes

    def pipe(self) -> tuple[int, int]:
        first = FIRST_PIPE + 2 * len(self.pipes)
        self.pipes.append(Pipe())
        self._process().pipes |= {first, first + 1}
        return first, first + 1

    def read(self, descriptor: int, size: int = -1) -> bytes:
        if descriptor < FIRST_PIPE:
            return bytes(REAL["os.read"](descriptor, size))
        pipe = self.pipes[(descriptor - FIRST_PIPE) // 2]

        def is_closed() -> bool:
            return not any(descriptor + 1 in one.pipes for one in self.kernel.processes.values())

        self.kernel.wait_until(lambda: bool(pipe.data) or is_closed())
        data, pipe.data = pipe.data, b""
        return data

    def fdopen(self, descriptor: int, *rest: Any, **more: Any) -> Any:
        return (
            PipeReader(self, descriptor) if descriptor >= FIRST_PIPE else REAL["os.fdopen"](descriptor, *rest, **more)
        )

    # Time and chance

    def time(self) -> float:
        return self.kernel.wall_offset + self.kernel.now

    def monotonic(self) -> float:
        return self.kernel.now

    def clock_gettime(self, _: int) -> float:
        return self.kernel.now - self.kernel.booted

    def strftime(self, form: str, *_: Any) -> str:
        return str(REAL["time.strftime"](form, UTC_S(self.time())))

    def urandom(self, size: int) -> bytes:
        return self.chance.randbytes(size)

    def nothing(self, *_: Any) -> None:
        """Asked of the process of the test, which is not meant."""


class PipeReader:
    """To be read to its end."""

    def __init__(self, calls: Calls, descriptor: int) -> None:
        self.calls, self.descriptor = calls, descriptor

    def __enter__(self) -> PipeReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.close(self.descriptor)

    def read(self) -> bytes:
        found = b""
        while data := self.calls.read(self.descriptor):
            found += data
        return found


OF_OS = (
    "open", "close", "write", "pwrite", "fsync", "replace", "link", "unlink", "mkdir", "utime", "getpid", "kill",
    "fork", "setsid", "execvpe", "waitpid", "pidfd_open", "pipe", "read", "fdopen", "urandom",
)  # fmt: skip
NAMES: dict[str, tuple[Any, str]] = {
    **{f"os.{name}": (os, name) for name in OF_OS},
    "os.rename": (os, "rename"), "os._exit": (os, "_exit"), "os.dup2": (os, "dup2"), "os.chdir": (os, "chdir"),
    "io.open": (io, "open"), "builtins.open": (builtins, "open"), "select.select": (select, "select"),
    "signal.signal": (signal, "signal"), "subprocess.Popen": (subprocess, "Popen"),
    **{f"time.{name}": (time, name) for name in ("time", "monotonic", "sleep", "clock_gettime", "strftime")},
}  # fmt: skip
REAL: dict[str, Any] = {name: getattr(module, attribute) for name, (module, attribute) in NAMES.items()}
MACHINE: list[Calls] = []


def answers(calls: Calls) -> dict[str, Callable[..., Any]]:
    return {
        **{f"os.{name}": getattr(calls, name) for name in OF_OS},
        "os.rename": calls.replace, "os._exit": calls.exit, "os.dup2": calls.nothing, "os.chdir": calls.nothing,
        "io.open": calls.io_open, "builtins.open": calls.io_open, "select.select": calls.select,
        "signal.signal": calls.signal, "subprocess.Popen": calls.popen,
        "time.time": calls.time, "time.monotonic": calls.monotonic, "time.sleep": calls.kernel.sleep,
        "time.clock_gettime": calls.clock_gettime, "time.strftime": calls.strftime,
    }  # fmt: skip


@contextmanager
def answering(calls: Calls) -> Iterator[None]:
    """While inside, what runs on the machine of `calls` is answered by it, and everybody else by the real system."""
    kernel, ours = calls.kernel, answers(calls)

    def either(name: str) -> Callable[..., Any]:
        real, own = REAL[name], ours[name]

        def answered(*rest: Any, **more: Any) -> Any:
            return (own if kernel.current is not None and kernel.asks() else real)(*rest, **more)

        return answered

    saved = {name: getattr(module, attribute) for name, (module, attribute) in NAMES.items()}
    try:
        for name, (module, attribute) in NAMES.items():
            setattr(module, attribute, either(name))
        yield
    finally:
        for name, (module, attribute) in NAMES.items():
            setattr(module, attribute, saved[name])
