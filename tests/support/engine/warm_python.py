"""A host's Python whose engines are forks of a process that has imported everything; whatever else it is asked, it is.

A new interpreter that imports torch takes 5 s of a core, and a fork 20 ms. `python -m t2v_core VERB JOBDIR` stays the
process that was begun: it passes signals on, ends as the fork ends, and the fork ends with it, however that is killed.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from support.engine.forked_command import FORKS

# With nothing but what every interpreter has: it is begun in 15 ms. What libraries read when they are imported, and is
# set here otherwise than in the fork's parent, is for an interpreter of its own.
PROGRAM = """#!{python} -IS
import os, sys
argv = sys.argv[1:]
read = ("HF_", "CUDA_", "PYTORCH_", "TORCH_", "RANK", "WORLD_SIZE", "LOCAL_", "T2V_RANK")
asked = {{name: value for name, value in os.environ.items() if name.startswith(read)}}
if argv[:2] != ["-m", "t2v_core"] or len(argv) != 4 or not asked.items() <= set({set_there!r}):
    os.execv({python!r}, [{python!r}, *argv])
import json, signal, socket
passed_on = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
said = server.makefile("rw")
print(json.dumps([os.getpid(), argv[2:], os.getcwd(), dict(os.environ)]), file=said, flush=True)
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
READ_AT_IMPORT = ("HF_", "CUDA_", "PYTORCH_", "TORCH_")


@functools.cache
def warm_python() -> str:
    """The program's path; it is there as long as this process."""
    place = Path(tempfile.mkdtemp(prefix="t2v-warm-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    address = f"\0t2v-warm-{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    set_there = [(name, value) for name, value in os.environ.items() if name.startswith(READ_AT_IMPORT)]
    program = place / "python"
    program.write_text(PROGRAM.format(python=sys.executable, address=address, set_there=set_there))
    program.chmod(0o755)
    return str(program)


def _serve(listener: socket.socket) -> None:
    while True:
        asker, _ = listener.accept()
        threading.Thread(target=_answer, args=(asker,), daemon=True).start()


def _answer(asker: socket.socket) -> None:
    """One engine from its beginning to its exit code, which is negative for a signal."""
    with asker, asker.makefile() as asked, suppress(BrokenPipeError):  # of one that was killed: its fork ends by itself
        pid, arguments, folder, environment = json.loads(asked.readline())
        fork = FORKS.Process(target=_be_engine, args=(pid, arguments, folder, environment))
        fork.start()
        asker.sendall(f"{fork.pid}\n".encode())
        fork.join()
        asker.sendall(f"{fork.exitcode}\n".encode())


def _be_engine(pid: int, arguments: Sequence[str], folder: str, environment: dict[str, str]) -> None:
    os.setsid()
    begun = os.pidfd_open(pid)
    threading.Thread(target=_end_with, args=(begun,), daemon=True).start()
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_APPEND), (2, os.O_WRONLY | os.O_APPEND)):
        opened = os.open(f"/proc/{pid}/fd/{number}", flags)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(folder)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from t2v_core.run_job import main

    sys.argv = ["-m", *arguments]
    sys.exit(main(arguments))


def _end_with(begun: int) -> None:
    select.select([begun], [], [])
    os.kill(os.getpid(), signal.SIGKILL)
