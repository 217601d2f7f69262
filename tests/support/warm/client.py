"""What stands for a fork of the warm server: `python -I -S client.py FOLDER PYTHON PROGRAM -m MODULE ARGUMENTS…`.

Its files, folder, variables, limits and signals are the fork's. Where there is no server, or the fork would not be
where this process is, it becomes the interpreter.
"""

import array
import json
import os
import resource
import signal
import socket
import sys

PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
LIMITS = ("AS", "CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "RSS", "STACK")
GUARD = os.path.realpath(f"{os.path.dirname(__file__)}/../../bench/loopback_only")
GANG = "T2V_GANG"
PR_SET_PDEATHSIG = 1
QUICK = ("t2v_tui.cli.main", "-X")  # without the engine: the command line, and Google's client
READ_AT_IMPORT = ("CUDA_", "HF_", "PYTORCH_")
SET_THERE = {f"HF_HUB_{name}": "1" for name in ("OFFLINE", "DISABLE_PROGRESS_BARS", "DISABLE_TELEMETRY")}
ON = ("1", "True")  # gradio's word for it
LOADED = (
    "accelerate", "av", "diffusers", "google", "gradio", "numpy", "paramiko", "peft", "PIL", "safetensors",
    "sitecustomize", "t2v_core", "t2v_tui", "textual", "torch", "transformers", "typer",
)  # fmt: skip
ROOT = os.path.realpath(f"{os.path.dirname(__file__)}/../../..")


def surroundings():
    """What a process shares with those that it forks and with no others: whose it is and where it is."""
    spaces = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "net", "pid", "user", "uts")]
    with open("/proc/self/status") as file:
        ours = [line for line in file if line.startswith(("Uid", "Gid", "CapEff", "Seccomp"))]
    with open("/proc/self/cgroup") as file:
        return "".join([*spaces, *ours, *file]).encode()


def is_where_server_is(folder):
    """The same surroundings, the same modules, and what libraries read when they are imported."""
    read = {name: value for name, value in os.environ.items() if name.startswith(READ_AT_IMPORT)}
    if any(name not in SET_THERE or value not in ON for name, value in read.items()):
        return False
    if any(has_others(path) for path in (".", *os.environ.get("PYTHONPATH", "").split(":")) if path):
        return False
    try:
        with open(f"{folder}/surroundings", "rb") as file:
            return file.read() == surroundings()
    except OSError:
        return False


def has_others(path):
    """A Python would find modules there that the server has from elsewhere."""
    if os.path.realpath(path) in (ROOT, GUARD):
        return False
    return any(os.path.exists(f"{path}/{name}{end}") for name in LOADED for end in ("", ".py"))


def asked(program, arguments):
    """What the server is told: all that an interpreter takes from the process that it is."""
    mask = os.umask(0o077)
    os.umask(mask)
    ignored = [name for name in PASSED_ON if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN]
    return {
        "program": program,
        "arguments": [os.fsencode(word).decode("latin-1") for word in arguments],
        "variables": {name.decode("latin-1"): value.decode("latin-1") for name, value in os.environb.items()},
        "folder": os.getcwdb().decode("latin-1"),
        "umask": mask,
        "ignored": ignored,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in LIMITS},
    }


def share_fate():
    """As one of a gang does it, whose fork has another parent."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(os.environ[GANG].partition(":")[0]):
        os._exit(1)


def main(folder, python, program, *arguments):
    server = socket.socket(socket.AF_UNIX)
    try:
        if not is_where_server_is(folder):
            raise OSError
        server.connect(f"{folder}/socket")
        if arguments[1] in QUICK and not os.path.exists(f"{folder}/pids"):
            raise OSError  # it has begun to import, and the interpreter is there sooner
        message = json.dumps(asked(program, arguments)).encode()
    except OSError:
        os.execv(python, [python, *arguments])
    if GANG in os.environ and "RANK" in os.environ:
        share_fate()
    # The fork is killed by the kernel when the last process that could write into this is gone, which is this one.
    alive, _ends_with_us = os.pipe()
    files = array.array("i", [0, 1, 2, alive])
    signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in PASSED_ON])
    server.sendmsg([len(message).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(message)
    os.close(alive)
    for name in PASSED_ON:
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), lambda number, _: server.send(bytes([number])))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [getattr(signal, name) for name in PASSED_ON])
    said = server.recv(8)
    if len(said) < 8:
        os._exit(70)  # the server is gone
    code = int.from_bytes(said, "big", signed=True)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
