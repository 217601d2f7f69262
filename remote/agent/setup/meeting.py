"""Before several machines do one job: what this one would bring to it, and whether it reaches the others."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..base.asked import arguments_in, expanded, path_in, take, workspace
from ..base.files import Json, Problem
from ..base.private import require_shut
from ..jobs.releases import with_release
from ..listing.looking import sha256_of

SIOCGIFADDR = 0x8915
HOLD_S = 60.0
LOOK_S = 0.1
REACH_TIMEOUT_S = 5.0
CODE_TIMEOUT_S = 60.0
TOKEN_BYTES = 32
# The ports that are held open, by token.
HELD: dict[str, threading.Event] = {}
FOLDERS = ("latents", "text_embeddings")
# Of the Python that a job would have: what t2v_core is made of, and the torch that it talks to the others with.
CODE = """
import hashlib, importlib.metadata as m, importlib.util, json, pathlib
spec, digest = importlib.util.find_spec("t2v_core"), hashlib.sha256()
folder = pathlib.Path(spec.origin).parent if spec and spec.origin else None
for path in sorted(folder.rglob("*.py"), key=lambda one: one.relative_to(folder).as_posix()) if folder else []:
    digest.update(path.relative_to(folder).as_posix().encode() + b"\\0" + path.read_bytes() + b"\\0")
try:
    torch = m.version("torch")
except m.PackageNotFoundError:
    torch = ""
print(json.dumps({"code": digest.hexdigest() if folder else "", "torch": torch}))
"""


def meeting(parameters: Json) -> Json:
    """Return what this machine would bring to a job of several, and hold a port open for a minute.

    python, release, env: as for a job; data: folder of the data set
    token: what `reach` of the others expects to hear there
    """
    root, token = workspace(parameters), take(parameters, "token", str)
    data = take(parameters, "data", str)
    manifests = {
        name: sha256_of(path_in(parameters, f"{data}/{name}/train/manifest.json"))["sha256"] or "" for name in FOLDERS
    }
    listener = socket.create_server(("0.0.0.0", 0))  # noqa: S104 - all addresses are tried
    port = listener.getsockname()[1]
    HELD[token] = is_over = threading.Event()
    threading.Thread(target=hold, args=(listener, token.encode(), is_over), daemon=True).start()
    return {**code_of(parameters, root), **manifests, "addresses": addresses(), "port": port}


def code_of(parameters: Json, root: Path) -> Json:
    """Return a hash of the engine that a job here would run, and its torch. Raises Problem when it does not run."""
    python = arguments_in(take(parameters, "python", list), "python")
    environment = with_release(take(parameters, "env", dict, {}), root, take(parameters, "release", str, None))
    require_shut(root, str(expanded(python[0])))
    argv = [str(expanded(python[0])), *python[1:], "-c", CODE]
    try:
        done = subprocess.run(
            argv, cwd=root, env={**os.environ, "PYTHONUTF8": "1", **environment}, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=CODE_TIMEOUT_S, check=True,
        )  # fmt: skip
        return dict(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise Problem("not-found", f"{argv[0]} does not run here", "make it ready: t2v bootstrap") from error


def addresses() -> list[Json]:
    """Return the IPv4 address of each interface that has one, loopback left out."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has none
                answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                address = socket.inet_ntoa(answer[20:24])
                if not address.startswith("127."):
                    found.append({"interface": name, "address": address})
    return found


def hold(listener: socket.socket, token: bytes, is_over: threading.Event) -> None:
    """Tell the token to whoever connects, for a minute, or until that is over."""
    deadline = time.monotonic() + HOLD_S
    with listener:
        while time.monotonic() < deadline and not is_over.is_set():
            if select.select([listener], [], [], LOOK_S)[0]:
                with suppress(OSError):
                    other, _ = listener.accept()
                    with other:
                        other.settimeout(REACH_TIMEOUT_S)
                        other.sendall(token)
                        other.recv(1)  # whoever closes first keeps the port for a minute
    HELD.pop(token.decode(), None)
    is_over.set()


def part(parameters: Json) -> Json:
    """Give back the port that was held: the job is about to take it."""
    if (is_over := HELD.get(take(parameters, "token", str))) is not None:
        is_over.set()
        deadline = time.monotonic() + REACH_TIMEOUT_S
        while take(parameters, "token", str) in HELD and time.monotonic() < deadline:
            time.sleep(0.01)
    return {}


def reach(parameters: Json) -> Json:
    """Try to reach places of other machines, all at once; says of each why not, "" where the other was heard.

    places: address and port; token: what is heard there, so that another machine of the same address is none
    """
    places, token = take(parameters, "places", list), take(parameters, "token", str)
    tried: list[Any] = [None] * len(places)

    def one(number: int, address: str, port: int) -> None:
        tried[number] = reached(address, port, token)

    threads = [
        threading.Thread(target=one, args=(number, str(take(place, "address", str)), take(place, "port", int)))
        for number, place in enumerate(places)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"why": tried}


def reached(address: str, port: int, token: str) -> str:
    """Return why a place is not reached; "" when it is."""
    try:
        with socket.create_connection((address, port), timeout=REACH_TIMEOUT_S) as other:
            heard = b""
            while len(heard) < TOKEN_BYTES * 2 and (more := other.recv(TOKEN_BYTES * 2)):
                heard += more
        return "" if heard == token.encode() else "somebody else answers there"
    except TimeoutError:
        return f"no answer within {REACH_TIMEOUT_S:g} s"
    except OSError as error:
        return str(error.strerror or error)
