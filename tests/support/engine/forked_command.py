"""`t2v` in a fork of a process that has imported everything: its own `main`, streams, signals and exit code.

The engine's jobs are forks as well. A new interpreter that imports torch takes 2 s, and a fork 20 ms; what is run is
the same. Every other process that is started is a real one.
"""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.warm.python import warm
from t2v_core.resume_check.children import PRELOAD
from t2v_core.run_job import QUIET

# Read when the libraries are imported, which the server does.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **QUIET}
FORKS = multiprocessing.get_context("forkserver")
ROOT = Path(__file__).parents[3]
COMMANDS = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.glob("t2v_tui/cli/**/*.py")]
FORKS.set_forkserver_preload([*PRELOAD, *COMMANDS, __name__])
# So that root is told what everybody else is: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which it opens any file.
OPENS_ALL = (1, 2)
ASKS_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_CAPBSET_DROP = 24
CAPABILITY_VERSION_3 = 0x20080522


class ForkedCommand:
    """`t2v WORDS…` in a folder, as `subprocess.Popen` shows it.

    variables:    its whole environment
    streams:      the files that take its stdout and its stderr; one for both when they are the same
    as_everybody: root gives up opening files whatever their permissions say
    site:         a program that is run before it, as an interpreter does with sitecustomize.py
    """

    def __init__(
        self, words: Sequence[str], folder: Path, variables: Mapping[str, str], streams: tuple[str, str],
        *, as_everybody: bool = False, site: Path | None = None,
    ) -> None:  # fmt: skip
        self.words = words
        self._process = FORKS.Process(target=be_t2v, args=(words, folder, variables, streams, as_everybody, site))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Raises subprocess.TimeoutExpired."""
        if not wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired(list(self.words), timeout)
        self._process.join()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)


def ran(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], *, timeout: float = 280
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` does it, with its output captured."""
    with tempfile.TemporaryDirectory() as place:
        streams = (f"{place}/stdout", f"{place}/stderr")
        code = ForkedCommand(words, folder, variables, streams).wait(timeout)
        return subprocess.CompletedProcess(words, code, *(Path(stream).read_text() for stream in streams))


def be_t2v(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], streams: tuple[str, str],
    as_everybody: bool = False, site: Path | None = None,
) -> None:  # fmt: skip
    """Be `t2v WORDS…` in that folder, as far as anybody outside can tell."""
    os.setsid()
    sys.executable = warm()  # what it starts, such as a process a GPU, need not import everything either
    _take_streams(*streams)
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None
    os.chdir(folder)
    if as_everybody and os.geteuid() == 0:
        _be_like_everybody()
    if site is not None:
        runpy.run_path(str(site))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import remote.jobs.foreground
    from t2v_tui.cli.main import main

    vars(remote.jobs.foreground)["subprocess"] = SimpleNamespace(**vars(subprocess) | {"Popen": ForkedEngine})
    sys.argv = ["t2v", *words]
    sys.exit(_flushed(main()))


def _take_streams(stdout: str, stderr: str) -> None:
    written = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND  # as a shell's >; two that share a file append to it
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, stdout, written), (2, stderr, written)):
        if number == 2 and stderr == stdout:
            os.dup2(1, number)
            continue
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), "utf-8", "backslashreplace", write_through=True
    )


def _flushed(code: int) -> int:
    """As the interpreter does it at its end, with code 120 for a stdout that takes nothing."""
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = sys.__stdout__
        print(f"Exception ignored in stdout: {error}", file=sys.stderr)
        return 120
    return code


def _be_like_everybody() -> None:
    """Give up opening files whatever their permissions say. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    for number in OPENS_ALL:
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
        for at in range(3):  # effective, permitted, inheritable
            data[at] &= ~(1 << number)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


class ForkedEngine(subprocess.Popen[bytes]):
    """`python -m t2v_core VERB JOBDIR` as a fork; whatever else is asked for is started as it always is."""

    _is_fork = False

    def __init__(self, argv: Sequence[str], **how: Any) -> None:
        if list(argv[1:3]) != ["-m", "t2v_core"]:
            super().__init__(argv, **how)
            return
        self._is_fork, self.args, self.returncode = True, list(argv), None
        self._child_created = False  # what Popen's own end would look after
        sys.stderr.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKS_TO_END)
        self.pid = os.fork()
        if self.pid == 0:
            _be_engine(argv[3:], how["stdout"].fileno())
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._ended = os.pidfd_open(self.pid)

    def wait(self, timeout: float | None = None) -> int:
        if not self._is_fork:
            return super().wait(timeout)
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def poll(self) -> int | None:
        if not self._is_fork:
            return super().poll()
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if not self._is_fork:
            super().send_signal(number)
        elif self.returncode is None:
            os.kill(self.pid, number)

    def __del__(self) -> None:
        if not self._is_fork:
            super().__del__()


def _be_engine(arguments: Sequence[str], log: int) -> None:
    code = 70
    try:
        os.setsid()
        os.dup2(log, 1)
        os.dup2(log, 2)
        for number in ASKS_TO_END:
            is_int = number is signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_int else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKS_TO_END)  # one that came meanwhile comes now
        from t2v_core.run_job import main

        code = main(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - as an interpreter that ends with a traceback
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        os._exit(code)
