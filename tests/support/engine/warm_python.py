"""A Python whose t2v and whose engines are forks of a process that has imported everything; else it is the real one.

A new interpreter that imports torch takes 5 s of a core, t2v's command line half a second, and a fork 20 ms. What is
begun stays the process that it is: it passes signals on, ends as its fork ends, and the fork ends with it, however that
is killed. A program of its own `sys.executable` begins others in the same way.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

from support.engine.forked_command import FORKS, be_t2v

READ_AT_IMPORT = ("HF_", "CUDA_", "PYTORCH_", "TORCH_", "RANK", "WORLD_SIZE", "LOCAL_", "LD_", "FAKETIME")
# Before any test sets others: what a test's own host ends by a variable of its is no parent of forks.
VARIABLES = dict(os.environ)
T2V, ENGINE = "t2v_tui.cli.main", "t2v_core"
# It is there in 15 ms. Left to an interpreter of its own: whoever reads an input or has a terminal, and whose variables
# would be read otherwise when libraries are imported.
PROGRAM = """#!{python} -IS
import os, stat, sys
argv = sys.argv[1:]
def is_plain(number):
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        return False
    return not stat.S_ISSOCK(mode) and not os.isatty(number)
def is_same(one, other):
    return os.path.samestat(os.fstat(one), os.fstat(other))
asked = {{name: value for name, value in os.environ.items() if name.startswith({read!r})}}
is_known = argv[:1] == ["-m"] and argv[1:2] and (argv[1] == {t2v!r} or argv[1].split(".")[0] == {engine!r})
has_input = argv[1:2] == [{t2v!r}] and not is_same(0, os.open(os.devnull, os.O_RDONLY)) if is_known else False
if not is_known or has_input or not all(map(is_plain, (0, 1, 2))) or not asked.items() <= set({set_there!r}):
    os.execv({python!r}, [{program!r}, *argv])
import json, signal, socket
passed_on = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
said = server.makefile("rw")
streams = [f"/proc/{{os.getpid()}}/fd/{{number}}" for number in (0, 1, 1 if is_same(1, 2) else 2)]
print(json.dumps([os.getpid(), argv[1:], streams, os.getcwd(), dict(os.environ), {program!r}]), file=said, flush=True)
fork = int(said.readline())
for number in passed_on:
    signal.signal(number, lambda number, frame: os.kill(fork, number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, passed_on)
code = int(said.readline() or 1)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@functools.cache
def warm_python() -> str:
    """The program's path; it is there as long as this process. It lies in a virtual environment like this one."""
    place = Path(tempfile.mkdtemp(prefix="t2v-warm-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    address = f"\0t2v-warm-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    set_there = [(name, value) for name, value in os.environ.items() if name.startswith(READ_AT_IMPORT)]
    (place / "bin").mkdir()
    (place / "lib").symlink_to(Path(sys.prefix) / "lib")
    (place / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix) / 'bin'}\n")
    program = place / "bin/python"
    program.write_text(
        PROGRAM.format(
            python=sys.executable, program=str(program), address=address, read=READ_AT_IMPORT, set_there=set_there,
            t2v=T2V, engine=ENGINE,
        )
    )  # fmt: skip
    program.chmod(0o755)
    with mock.patch.dict(os.environ, VARIABLES, clear=True):
        forkserver.ensure_running()
    begun = FORKS.Process(target=os.getpid)
    begun.start()
    begun.join()  # by now all is imported, so that no test's deadline has to hold for that
    return str(program)


def _serve(listener: socket.socket) -> None:
    while True:
        asker, _ = listener.accept()
        threading.Thread(target=_answer, args=(asker,), daemon=True).start()


def _answer(asker: socket.socket) -> None:
    """One program from its beginning to its exit code, which is negative for a signal."""
    with asker, asker.makefile() as asked, suppress(BrokenPipeError):  # of one that was killed: its fork ends by itself
        fork = FORKS.Process(target=_be_fork, args=json.loads(asked.readline()))
        fork.start()
        asker.sendall(f"{fork.pid}\n".encode())
        fork.join()
        asker.sendall(f"{fork.exitcode}\n".encode())


def _be_fork(
    pid: int, words: Sequence[str], streams: Sequence[str], folder: str, variables: dict[str, str], program: str
) -> None:
    sys.executable = program
    begun = os.pidfd_open(pid)
    threading.Thread(target=_end_with, args=(begun,), daemon=True).start()
    if words[0] == T2V:
        be_t2v(words[1:], Path(folder), variables, (streams[1], streams[2]))
    os.setsid()
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_APPEND), (2, os.O_WRONLY | os.O_APPEND)):
        opened = os.open(streams[number], flags)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None
    os.chdir(folder)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _end_with(begun: int) -> None:
    select.select([begun], [], [])
    os.kill(os.getpid(), signal.SIGKILL)
