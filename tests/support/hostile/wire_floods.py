"""Streams and files without end, and how much memory their reader takes at its most: each in a process of its own.

    python tests/support/hostile/wire_floods.py NAME GIGABYTES

Writes a line of JSON: what the reader said, its peak beyond what it began with, and its seconds.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from remote.agent.transfer.offers import incomplete
from remote.agent.transfer.parts import read_journal
from remote.hosts.agent_client import Agent, ProcessChannel
from remote.hosts.known_hosts import Keys
from remote.hosts.ssh_channel import Opening
from remote.hosts.ssh_connection import _ReadAhead, _Transport
from remote.replies.questions import HELLO
from remote.transfer.plan.memory import ArrivedFiles
from t2v_core.disk.files import incompleteness
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.plain_toml import read_toml
from t2v_core.errors import EngineError
from t2v_core.events import read_events
from t2v_core.workspace import Workspace

# Writes as fast as it can, so many bytes: a piece again and again behind a beginning.
ENDLESS = """
import os, sys
begin, piece, left = sys.argv[1].encode(), sys.argv[2].encode() * (65536 // len(sys.argv[2])), int(sys.argv[3])
try:
    os.write(1, begin)
    while left > 0:
        left -= os.write(1, piece)
except BrokenPipeError:
    os._exit(0)
os.read(0, 1)
"""
GREETING = '{"agent": "x", "python": "3.11"}\n'


def argv(begin: str, piece: str, size: int) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", ENDLESS, begin, piece, str(size)]


@contextmanager
def running(begin: str, piece: str, size: int) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(argv(begin, piece, size), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def greeting_of_a_child(size: int) -> object:
    return ProcessChannel(argv("", "x", size))


def greeting_over_ssh(size: int) -> object:
    opening = Opening("host", time.monotonic() + 60)
    with running("", "{", size) as child:
        assert child.stdout is not None
        while data := child.stdout.read1(65536):
            opening.takes(data)
    return None


def banner(size: int) -> object:
    """A server that begins well and has no end of line, as paramiko reads it."""
    ours, theirs = socket.socketpair()
    with running("SSH-2.0-x", "x", size) as child, ours, theirs:
        assert child.stdout is not None

        def pass_on() -> None:
            with suppress(OSError):
                while data := child.stdout.read1(65536):  # type: ignore[union-attr]
                    theirs.sendall(data)

        threading.Thread(target=pass_on, daemon=True).start()
        transport = _Transport(_ReadAhead(ours), known=Keys(()).taken)
        transport.banner_timeout = 60.0
        try:
            transport.start_client(timeout=240)
        finally:
            transport.close()


def one_line(size: int) -> object:
    with Agent(ProcessChannel(argv(GREETING, "x", size)), "vm") as agent:
        return agent.ask(HELLO, timeout_s=60.0)


def filled(path: Path, begin: bytes, piece: bytes, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    block = piece * max(1, 2**20 // len(piece))
    with path.open("wb") as file:
        file.write(begin)
        for _ in range(size // len(block)):
            file.write(block)
    return path


def manifest(folder: Path, size: int) -> object:
    """Of ten million names: 110 bytes each."""
    entry = b'"video%07d": {"size_bytes": 123456, "sha256": "' + b"0" * 64 + b'"},\n'
    filled(folder / "set/manifest.json", b'{"files": {', entry.replace(b"%07d", b"0000001"), size)
    return incompleteness(folder / "set"), incomplete(folder / "set")


def events(folder: Path, size: int) -> object:
    return len(list(read_events(filled(folder / "events.jsonl", b'{"t":1,"kind":"', b"x", size))))


def parts_of_a_file(folder: Path, size: int) -> object:
    path = filled(folder / "a.part.journal", b'{"identity": "one", "size": 1000000}\n', b"[1,2]\n[3,4]\n", size)
    return read_journal(path, "one", 1_000_000)


def came(folder: Path, size: int) -> object:
    filled(folder / ".t2v/transfers/h/came.jsonl", b"", b'{"path": "a", "identity": "b", "mark": [1, 2]}\n', size)
    return len(ArrivedFiles(Workspace(folder), "h")._lines())


def settings(folder: Path, size: int) -> object:
    return read_toml(filled(folder / "t2v.toml", b"", b"a = 1\n", size))


def table(folder: Path, size: int) -> object:
    return read_table(filled(folder / "a.json", b"[", b"[],", size))


STREAMS: dict[str, Callable[[int], object]] = {
    "greeting of a child": greeting_of_a_child, "greeting over SSH": greeting_over_ssh, "banner": banner,
    "one line": one_line,
}  # fmt: skip
FILES: dict[str, Callable[[Path, int], object]] = {
    "manifest": manifest, "events": events, "journal": parts_of_a_file, "came": came, "settings": settings,
    "table": table,
}  # fmt: skip


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    name, size = sys.argv[1], int(float(sys.argv[2]) * 1e9)
    with tempfile.TemporaryDirectory() as folder:
        before, began = peak_bytes(), time.monotonic()
        try:
            said = STREAMS[name](size) if name in STREAMS else FILES[name](Path(folder), size)
            error = ""
        except (EngineError, ValueError, OSError) as one:
            said, error = None, str(one)
        except Exception as one:  # noqa: BLE001 - paramiko's own
            said, error = None, f"{type(one).__name__}: {one}"
        peak, seconds = peak_bytes() - before, time.monotonic() - began
    print(json.dumps({"said": repr(said)[:300], "error": error[:300], "peak": peak, "seconds": round(seconds, 2)}))


if __name__ == "__main__":
    main()
