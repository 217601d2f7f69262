"""A Python whose engine is imported already: `python -m t2v_core VERB JOBDIR` becomes a fork of a server.

    python warm_python.py SOCKET            the server
    python warm_python.py SOCKET -m …       in Python's place: the fork's streams, environment, signals and end are its

Importing torch takes 3 s of this machine's core, a fork 20 ms; a start on two hosts is four such processes. Whatever
else is asked for runs in the real interpreter.
"""

import array
import ctypes
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

SIGKILL, PR_SET_PDEATHSIG = 9, 1


def _client(place, arguments):
    """Wait for the fork, and end as it does; it ends with this process."""
    if arguments[:2] != ["-m", "t2v_core"]:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell is what is wanted
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) if "RANK" in os.environ else None
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(place)
        asked = json.dumps({"arguments": arguments[2:], "cwd": str(Path.cwd()), "environ": dict(os.environ)}).encode()
        streams = array.array("i", [0, 1, 2])
        server.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        server.sendall(asked)
        pid = int.from_bytes(_exactly(server, 4), "big")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        code = _exactly(server, 4)
    if not code:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), SIGKILL)
    os._exit(int.from_bytes(code, "big"))


def _exactly(source, size):
    data = b""
    while len(data) < size and (more := source.recv(size - len(data))):
        data += more
    return data


def _serve(place):
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    sys.path[:0] = os.environ["T2V_TEST_PATHS"].split(":")
    import importlib

    from t2v_core.resume_check.children import PRELOAD

    for name in (*PRELOAD, "t2v_core.processes.elastic", "t2v_core.processes.several_machines", "t2v_core.run_job"):
        importlib.import_module(name)
    vars(sys.modules["t2v_core.processes.several_machines"])["LOST_S"] = float(os.environ["T2V_TEST_LOST_S"])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{place}.partial")
        listener.listen(32)
        Path(f"{place}.partial").rename(place)
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _be(client)
            client.close()


def _be(client):
    """Be the engine that was asked for."""
    head, rights, _, _ = client.recvmsg(4, socket.CMSG_SPACE(12))
    streams = array.array("i", rights[0][2])
    asked = json.loads(_exactly(client, int.from_bytes(head, "big")))
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, source in enumerate(streams):
        os.dup2(source, target)
        os.close(source)
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["cwd"])
    client.sendall(os.getpid().to_bytes(4, "big"))
    threading.Thread(target=_end_with, args=(client,), daemon=True).start()
    sys.executable = os.environ["T2V_TEST_PYTHON"]
    from t2v_core import run_job

    vars(run_job)["share_fate"] = lambda: None  # the fork's parent is the server; see `_end_with`
    try:
        code = run_job.main(asked["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    client.sendall(code.to_bytes(4, "big"))
    os._exit(code)


def _end_with(client):
    """As the system does it to a process that shares its starter's fate."""
    client.recv(1)
    os.kill(os.getpid(), SIGKILL)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _client(sys.argv[1], sys.argv[2:])
    _serve(sys.argv[1])
