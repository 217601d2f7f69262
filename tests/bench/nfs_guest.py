"""What runs first, and alone, in a kernel of tests/bench/nfs.py: it mounts, and does what its line asks.

    nfs_guest.py SETTINGS      as process 1 of a user-mode Linux over this machine's files, which it sees read-only

SETTINGS is a JSON file: a machine's "name" and "addresses", the "server" of its NFS and the "options" of the mount; for
the server itself its "clients". Each line that comes in on the serial line 1 is a Python program as a JSON string; what
it puts into `said` goes back as one line of JSON, or what it raised. The agent's own bytes go over the serial line 0.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import traceback
import tty
from contextlib import suppress
from pathlib import Path
from typing import Any

MODULES = Path("/usr/lib/uml/modules") / os.uname().release
SHARED = Path("/run/shared")
EXPORT = Path("/run/disk/export")
FINIT_MODULE = 313  # x86-64's number
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
UP = 0x1
# Any port, the guests' own root, no look whether a file lies below the folder, known by a number: exports(5).
EXPORT_FLAGS = 0x2 | 0x400 | 0x2000
FOR_EVER, NOBODY = 2**31 - 1, 65534
LEASE_S = 10


def load(name: str) -> None:
    """Load a module after those that it needs. Raises OSError."""
    needed = dict(line.split(":", 1) for line in (MODULES / "modules.dep").read_text().splitlines())
    own = next(path for path in needed if path.endswith(f"/{name}.ko"))
    libc = ctypes.CDLL(None, use_errno=True)
    for path in [*reversed(needed[own].split()), own]:
        with (MODULES / path).open("rb") as file:
            if libc.syscall(FINIT_MODULE, file.fileno(), b"", 0) and ctypes.get_errno() != 17:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def mount(kind: str, what: str, where: str | Path, options: str = "rw") -> None:
    if not Path(where).exists():
        Path(where).mkdir(parents=True)
    # -i: without a program for the kind, as mount.nfs would be
    subprocess.run(["mount", "-n", "-i", "-t", kind, "-o", options, what, str(where)], check=True)


def bring_up(device: str, address: str) -> None:
    def with_address(text: str) -> bytes:
        return struct.pack("16sHH4s8x", device.encode(), socket.AF_INET, 0, socket.inet_aton(text))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, SIOCSIFADDR, with_address(address))
        fcntl.ioctl(one, SIOCSIFNETMASK, with_address("255.255.255.0"))
        fcntl.ioctl(one, SIOCSIFFLAGS, struct.pack("16sH14x", device.encode(), UP))


def serve(clients: list[str]) -> None:
    """Be the NFS server of what lies on the disk. What exportfs and mountd would tell the kernel is written to it."""
    mount("ext4", "/dev/ubda", EXPORT.parent)
    (EXPORT.parent / "recovery").mkdir(exist_ok=True)
    EXPORT.mkdir(exist_ok=True)
    load("nfsd")
    mount("nfsd", "nfsd", "/proc/fs/nfsd")
    rpc, nfsd = Path("/proc/net/rpc"), Path("/proc/fs/nfsd")
    for client in clients:
        (rpc / "auth.unix.ip/channel").write_text(f"nfsd {client} {FOR_EVER} clients\n")
    (rpc / "nfsd.export/channel").write_text(f"clients {EXPORT} {FOR_EVER} {EXPORT_FLAGS} {NOBODY} {NOBODY} 0\n")
    (rpc / "nfsd.fh/channel").write_text(f"clients 1 \\x00000000 {FOR_EVER} {EXPORT}\n")
    (nfsd / "nfsv4recoverydir").write_text(f"{EXPORT.parent}/recovery\n")
    (nfsd / "nfsv4leasetime").write_text(f"{LEASE_S}\n")
    (nfsd / "nfsv4gracetime").write_text(f"{LEASE_S}\n")
    (nfsd / "versions").write_text("-3 +4 +4.1 +4.2\n")
    (nfsd / "portlist").write_text("tcp 2049\n")
    (nfsd / "threads").write_text("4\n")


def begin(settings: dict[str, Any]) -> None:
    for kind, where in (("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run")):  # /dev is there
        mount(kind, kind, where)
    socket.sethostname(settings["name"])
    for name in ("home", "tmp"):
        Path("/run", name).mkdir()
    Path("/run/machine-id").write_text(settings["name"].encode().hex().ljust(32, "0") + "\n")
    if Path("/etc/machine-id").exists():  # else its name is its id
        mount("none", "/run/machine-id", "/etc/machine-id", "bind")
    bring_up("lo", "127.0.0.1")
    for number, address in enumerate(settings["addresses"]):
        bring_up(f"vec{number}", address)
    if server := settings.get("server"):
        load("nfsv4")
        options = f"{settings['options']},addr={server},clientaddr={settings['addresses'][0]}"
        mount("nfs4", f"{server}:/", SHARED, options)
    else:
        serve(settings["clients"])


def open_line(number: int) -> int:
    line = os.open(f"/dev/ttyS{number}", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    return line


def start_agent(argv: list[str]) -> int:
    """Start the agent on the serial line 0; returns its process id."""
    line = open_line(0)
    environment = {"PATH": os.environ["PATH"], "HOME": "/run/home", "TMPDIR": "/run/tmp", "LANG": "C.UTF-8"}
    one = subprocess.Popen(argv, stdin=line, stdout=line, env=environment, start_new_session=True, cwd="/run/home")
    os.close(line)
    return one.pid


def reap() -> None:
    """Orphans are its children, and nobody else waits for them."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def answer(program: str) -> Any:
    scope: dict[str, Any] = {**globals(), "said": None}
    exec(program, scope)  # noqa: S102 - it is the test's own
    return scope["said"]


def main() -> None:
    os.environ.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    settings = json.loads(Path(sys.argv[1]).read_text())
    begin(settings)
    with os.fdopen(open_line(1), "r+b", buffering=0) as line:
        line.write(b'"ready"\n')
        rest = b""
        while more := line.read(65536):
            *programs, rest = (rest + more).split(b"\n")
            for program in programs:
                reap()
                try:
                    reply = json.dumps({"said": answer(json.loads(program))})
                except Exception:  # noqa: BLE001 - the test is told
                    reply = json.dumps({"raised": traceback.format_exc()})
                line.write(reply.encode() + b"\n")


if __name__ == "__main__":
    main()
