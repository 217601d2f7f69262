"""A Python whose `-m t2v_core …` and `-m t2v_tui.cli.main …` are forks of one process that has imported them.

So is the helper that asks Compute Engine, of whose CPU time importing Google's client is nearly all.

Importing torch and diffusers takes 5 s of a core, and a fork 20 ms; a run of all tests starts the engine hundreds of
times. `warm()` is the path of a program that stands for an interpreter, also in what is started by it. Whatever else it
is asked for, the interpreter itself does.

The process that somebody starts stays there and stands for the fork: signals go through it, both end together, and with
the same code or signal. SIGKILL to it reaches the fork a moment later, so what is tested by that is an interpreter of
its own. A process in another cgroup, namespace or user's name, or with other modules, is the interpreter as well: a
fork would not be where it is.
"""

from __future__ import annotations

import os
import select
import shlex
import socket
import subprocess
import sys
import threading
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

from support.warm.client import SET_THERE, surroundings

VARIABLE = "WARM_PYTHON"
HELPER = Path(__file__).parents[3] / "remote/gce/helper.py"
LONGEST_PLACE = 90  # of a socket's address, 108 bytes
PROGRAM = """\
#!/bin/sh
case "$LD_PRELOAD:$1 $2 $3 $4" in
":-m t2v_core "* | ":-m t2v_core.verbs."* | ":-m t2v_core.diagnosis"* | ":-m t2v_core.data.video."* | \\
":-m t2v_tui.cli.main "* | ":-P -X utf8 "{helper}) exec {real} -I -S {client} {place} {real} "$0" "$@" ;;
esac
exec {real} "$@"
"""


def warm() -> str:
    """Such a Python's path; the interpreter's own where there is none."""
    return os.environ.get(VARIABLE, sys.executable)


def install(folder: Path) -> None:
    """Make such a Python for this process and those of pytest-xdist that it starts.

    What multiprocessing forks by its server, that process forks for all of them.

    folder: where its files lie; gone with this process
    """
    if not Path(os.environ.get(VARIABLE, "")).is_file():
        if sys.platform != "linux" or len(os.fsencode(folder)) > LONGEST_PLACE:
            return
        folder.mkdir()
        os.environ[VARIABLE] = str(_made(folder))
    take_processes_from(place() / "forkserver", os.open(os.devnull, os.O_RDONLY))


def place() -> Path:
    """Where the files of the warm Python lie; its program, as that of a virtual environment, in `bin` there."""
    return Path(warm()).parents[1]


def servers() -> list[int]:
    """Pids of what runs as long as all tests do; none before somebody has asked."""
    file = place() / "pids"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def take_processes_from(address: Path, alive: int) -> None:
    """Have multiprocessing fork by a server that is there. alive: open as long as that is wanted"""
    server = forkserver._forkserver  # type: ignore[attr-defined]
    server._forkserver_address, server._forkserver_alive_fd = str(address), alive
    server.ensure_running = resource_tracker.ensure_running


def _made(folder: Path) -> Path:
    listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for listener, name in zip(listeners, ("socket", "forkserver"), strict=True):
        listener.bind(str(folder / name))
        listener.listen(64)
    (folder / "surroundings").write_bytes(surroundings())
    threading.Thread(target=_serve_when_asked, args=(listeners, folder), daemon=True).start()
    (folder / "bin").mkdir()
    (folder / "lib").symlink_to(Path(sys.prefix) / "lib")
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix) / 'bin'}\n")
    program, client = folder / "bin/python", Path(__file__).with_name("client.py")
    words = {"real": sys.executable, "client": client, "place": folder, "helper": HELPER}
    program.write_text(PROGRAM.format(**{name: shlex.quote(str(word)) for name, word in words.items()}))
    program.chmod(0o755)
    return program


def _serve_when_asked(listeners: list[socket.socket], folder: Path) -> None:
    """Start the server at the first question; it ends with this process, whose end of a pipe is closed then."""
    select.select(listeners, [], [])
    alive, _ends_with_us = os.pipe()
    files = [*(listener.fileno() for listener in listeners), alive]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GRADIO_TEMP_DIR": str(folder / "gradio"), **SET_THERE}
    environment["PYTHONPATH"] = f"{Path(__file__).parents[3]}:{Path(__file__).parents[2]}"
    with (folder / "log").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", "support.warm.server", *map(str, files)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, pass_fds=files,
        )  # fmt: skip
    os.close(alive)
    for listener in listeners:
        listener.close()
