"""A terminal of bytes: a pseudo-terminal that answers what it is asked as kitty, xterm and others do, and keeps all."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

DEADLINE_S = 60.0
CELL = (10, 20)
ESC = b"\x1b"
GRAPHICS = re.compile(rb"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\")
ATTRIBUTES = re.compile(rb"\x1b\[0?c")
# What each of them answers to, as measured or documented: XTVERSION, kitty's question, iTerm2's, the cell's size, DA1.
NAMES: Mapping[str, bytes] = {
    "kitty": b"kitty(0.36.4)", "ghostty": b"ghostty 1.2.0", "wezterm": b"WezTerm 20240203", "xterm": b"XTerm(390)",
    "iterm2": b"iTerm2 3.5.11", "plain": b"",
}  # fmt: skip


@dataclass
class PixelTerminal:
    """kind: one of NAMES; answers are given only to what that terminal knows"""

    kind: str
    descriptor: int
    process: subprocess.Popen[bytes]
    received: bytearray = field(default_factory=bytearray)
    _asked: int = 0

    def answers(self) -> Iterator[bytes]:
        """To what has come since the last time."""
        new = bytes(self.received[self._asked :])
        self._asked = len(self.received)
        if b"\x1b[>q" in new or b"\x1b[>0q" in new:
            yield b"\x1bP>|" + NAMES[self.kind] + b"\x1b\\" if NAMES[self.kind] else b""
        if b"a=q" in new and self.kind in ("kitty", "ghostty", "wezterm"):
            yield b"\x1b_Gi=31;OK\x1b\\"
        if b"ReportCellSize" in new and self.kind in ("iterm2", "wezterm"):
            yield b"\x1b]1337;ReportCellSize=20.0;10.0;2.0\x1b\\"
        if b"\x1b[16t" in new and self.kind != "plain":
            yield b"\x1b[6;%d;%dt" % (CELL[1], CELL[0])
        if ATTRIBUTES.search(new):
            yield b"\x1b[?63;1;2;4;6c" if self.kind in ("xterm", "iterm2", "wezterm") else b"\x1b[?62;22c"

    def listen(self) -> None:
        """Until the program closes its end."""
        while True:
            ready, _, _ = select.select([self.descriptor], [], [], 0.05)
            if not ready:
                continue
            try:
                said = os.read(self.descriptor, 65536)
            except OSError:
                return
            if not said:
                return
            self.received += said
            for answer in self.answers():
                os.write(self.descriptor, answer)

    def type(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    def wait_until(self, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline, bytes(self.received[-4000:])
            assert self.process.poll() is None or is_so(), bytes(self.received[-4000:])
            time.sleep(0.02)

    @property
    def graphics(self) -> list[tuple[dict[str, str], bytes]]:
        """kitty's sequences: their keys, and the data of all chunks of one together."""
        found: list[tuple[dict[str, str], bytes]] = []
        is_open = False
        for head, data in GRAPHICS.findall(bytes(self.received)):
            keys = dict(pair.split("=") for pair in head.decode().split(","))
            if is_open:
                found[-1] = (found[-1][0], found[-1][1] + data)
            else:
                found.append((keys, data))
            is_open = keys.get("m") == "1"
        return found

    def frames(self) -> list[tuple[dict[str, str], bytes]]:
        """Pictures and frames that were sent, as RGB."""
        sent = [(keys, data) for keys, data in self.graphics if keys.get("a") in ("t", "f")]
        whole = [(keys, b64decode(data)) for keys, data in sent if len(data) % 4 == 0]
        return [(keys, rgb) for keys, data in whole if (rgb := inflated(data)) is not None]


def inflated(data: bytes) -> bytes | None:
    """What was compressed; None while its end has not come yet."""
    stream = zlib.decompressobj()
    rgb = stream.decompress(data)
    return rgb if stream.eof else None


@contextmanager
def pixel_terminal(
    kind: str, argv: Sequence[str], *, size: tuple[int, int] = (80, 24), env: Mapping[str, str] | None = None
) -> Iterator[PixelTerminal]:
    """Run a program in a terminal of that kind and size; both end with the context."""
    ours, theirs = pty.openpty()
    pixels = (0, 0) if kind == "plain" else (size[0] * CELL[0], size[1] * CELL[1])
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], *pixels))
    settings = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
    dropped = ("TMUX", "TMUX_PANE", "COLUMNS", "LINES", "SSH_TTY", "NO_COLOR", "TERM_PROGRAM", "LC_TERMINAL")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    process = subprocess.Popen(
        argv, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env={**kept, **settings},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  tmux wants a terminal of its own
    )  # fmt: skip
    os.close(theirs)
    one = PixelTerminal(kind, ours, process)
    listener = threading.Thread(target=one.listen, daemon=True)
    listener.start()
    try:
        yield one
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        listener.join()
        os.close(ours)
