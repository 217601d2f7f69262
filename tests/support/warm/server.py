"""The process that has imported t2v and its engine, and forks for each that asks: `python -m support.warm.server`."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from fcntl import F_GETFL, F_SETFL, F_SETOWN, F_SETSIG, fcntl
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any, NoReturn

from support.warm.client import GANG, PASSED_ON
from support.warm.python import place, take_processes_from

NUMBERS = [getattr(signal, name) for name in PASSED_ON]


def load() -> None:
    from support.engine.forked_command import COMMANDS, PRELOAD

    for name in (*PRELOAD, *COMMANDS, *VERBS):
        importlib.import_module(name)
    with suppress(ImportError):  # without that extra, tests of the page are left out
        importlib.import_module("t2v_tui.web.page")
    gc.collect()
    gc.freeze()  # else each fork copies these pages when it looks for garbage


VERBS = (
    "t2v_core.verbs.drafts", "t2v_core.verbs.generate", "t2v_core.verbs.evaluate", "t2v_core.processes.elastic",
    "t2v_core.data.video.preview", "t2v_core.diagnosis", "google.cloud.compute_v1",
)  # fmt: skip


class Server:
    """One loop: who asks, who has a signal to pass on, and which fork has ended."""

    def __init__(self, listener: socket.socket, alive: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = listener
        self.open: set[int] = {listener.fileno(), alive}
        self.links: dict[
            int, int
        ] = {}  # of each fork whose client is there; a number that was closed is another's soon
        self.selector.register(listener, selectors.EVENT_READ, self.accept)
        self.selector.register(alive, selectors.EVENT_READ, lambda: os._exit(0))

    def run(self) -> NoReturn:
        while True:
            for key, _ in self.selector.select():
                if self.selector.get_map().get(key.fd) is key:  # not closed by one before it
                    key.data()

    def watch(self, fd: int, act: Callable[[], None]) -> None:
        self.open.add(fd)
        self.selector.register(fd, selectors.EVENT_READ, act)

    def forget(self, fd: int) -> None:
        if fd in self.open:
            self.open.remove(fd)
            self.selector.unregister(fd)
            os.close(fd)

    def accept(self) -> None:
        client, _ = self.listener.accept()
        client.settimeout(60)
        try:
            head, files, _, _ = socket.recv_fds(client, 8, 4)
            asked = json.loads(received(client, int.from_bytes(head, "big")))
        except (OSError, ValueError):  # killed meanwhile
            client.close()
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
        pid = os.fork()
        if pid == 0:
            for fd in self.open:
                os.close(fd)
            client.close()
            self.selector.close()
            become(asked, files)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
        for fd in files:
            os.close(fd)
        client.setblocking(False)
        link, ended = client.detach(), os.pidfd_open(pid)
        self.links[pid] = link
        self.watch(link, lambda: self.pass_on(link, pid))
        self.watch(ended, lambda: self.end(pid, ended))

    def pass_on(self, link: int, pid: int) -> None:
        numbers = b""
        with suppress(OSError):  # of one that was killed
            numbers = os.read(link, 64)
        for number in numbers:
            os.kill(pid, number)
        if not numbers:  # the kernel kills the fork
            self.forget(self.links.pop(pid))

    def end(self, pid: int, ended: int) -> None:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if (link := self.links.pop(pid, None)) is not None:
            with suppress(OSError):  # nobody waits any more
                os.write(link, code.to_bytes(8, "big", signed=True))
            self.forget(link)
        self.forget(ended)


def received(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return data


def become(asked: dict[str, Any], files: list[int]) -> NoReturn:
    """Be what was asked for, as far as anybody outside can tell."""
    code = 1
    try:
        os.setsid()
        live_as_long_as(files[3])
        take_streams(files[:3])
        take_surroundings(asked)
        code = run(asked["arguments"])
    except BaseException:  # noqa: BLE001 - as an interpreter that ends with a traceback
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def live_as_long_as(alive: int) -> None:
    """SIGKILL by the kernel as soon as the other end is closed."""
    os.set_inheritable(alive, False)
    fcntl(alive, F_SETOWN, os.getpid())
    fcntl(alive, F_SETSIG, signal.SIGKILL)
    fcntl(alive, F_SETFL, fcntl(alive, F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        os.read(alive, 1)
        os._exit(1)  # it was closed before


def take_streams(files: list[int]) -> None:
    for number, fd in enumerate(files):
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = io.FileIO(number, "w", closefd=False)
        is_terminal = os.isatty(number)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw), "utf-8", errors, line_buffering=is_terminal or number == 2,
            write_through=number == 2,
        )  # fmt: skip
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.__stdin__ = sys.stdin


def take_surroundings(asked: dict[str, Any]) -> None:
    os.environb.clear()
    os.environb.update({n.encode("latin-1"): v.encode("latin-1") for n, v in asked["variables"].items()})
    if GANG in os.environ:  # whose parent this is, as it sees it
        os.environ[GANG] = f"{os.getppid()}:{os.environ[GANG].partition(':')[2]}"
    os.chdir(asked["folder"].encode("latin-1"))
    os.umask(asked["umask"])
    os.setpriority(os.PRIO_PROCESS, 0, asked["nice"])
    for name, limit in asked["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), limit)
    tempfile.tempdir = None
    sys.executable = asked["program"]
    for name, number in zip(PASSED_ON, NUMBERS, strict=True):
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if name in asked["ignored"] else usual)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def run(arguments: list[str]) -> int:
    """`python -m MODULE ARGUMENTS…` or `python -P -X utf8 FILE`, and what an interpreter does at its end."""
    option, *words = [os.fsdecode(word.encode("latin-1")) for word in arguments]
    atexit._clear()
    sys.path[:] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path] + sys.path
    for path in sys.path:
        if (Path(path) / "sitecustomize.py").exists():
            runpy.run_path(f"{path}/sitecustomize.py")
    warnings.filterwarnings("ignore", message=".*found in sys.modules after import of package", category=RuntimeWarning)
    code = ended_by(lambda: run_main(option, words))
    threading._shutdown()
    atexit._run_exitfuncs()
    return flushed(code)


def run_main(option: str, words: list[str]) -> None:
    if option == "-m":
        sys.path.insert(0, str(Path.cwd()))
        sys.argv = words
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[-1], run_name="__main__")


def ended_by(act: Callable[[], Any]) -> int:
    """The exit code of what raises SystemExit; of a traceback, 1."""
    try:
        act()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - any is a traceback
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def flushed(code: int) -> int:
    """As the interpreter does it at its end, with code 120 for a stdout that takes nothing."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        print(f"Exception ignored in: {sys.stdout!r}\n{type(error).__name__}: {error}", file=sys.stderr)
        return 120
    return code


def fork_for_multiprocessing(listener: int, ours: list[int]) -> None:
    """Be its server in a fork, for all who know the address, and for what this process forks. ours: closed there"""
    alive, ends_with_us = os.pipe()
    with socket.socket(fileno=os.dup(listener)) as bound:
        address = bound.getsockname()
    resource_tracker.ensure_running()
    take_processes_from(Path(address), ends_with_us)
    pid = os.fork()
    if pid == 0:
        for fd in (*ours, ends_with_us):
            os.close(fd)
        forkserver.main(listener, alive, [])
        os._exit(0)
    (place() / "pids").write_text(f"{os.getpid()} {pid} {resource_tracker._resource_tracker._pid}")
    os.close(alive)
    os.close(listener)


def main() -> NoReturn:
    listener, of_multiprocessing, alive = map(int, sys.argv[1:])
    load()
    fork_for_multiprocessing(of_multiprocessing, [listener, alive])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Server(socket.socket(fileno=listener), alive).run()


if __name__ == "__main__":
    main()
