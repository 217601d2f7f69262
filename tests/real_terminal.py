"""A real terminal: tmux on a server of its own, with keys that are pressed and a screen that is read."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 30.0
TMUX = shutil.which("tmux")
WITHOUT = ("-u", "COLUMNS", "-u", "LINES")


@dataclass
class Terminal:
    """One window."""

    socket: Path

    def tmux(self, *arguments: str) -> str:
        argv = [TMUX or "tmux", "-S", str(self.socket), "-f", os.devnull, *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout

    @property
    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "t")

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "t", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    def wait_for(self, pattern: str, *, timeout_s: float = DEADLINE_S) -> str:
        """The screen as soon as the pattern is somewhere on it."""
        deadline = time.monotonic() + timeout_s
        while not re.search(pattern, screen := self.screen):
            assert time.monotonic() < deadline, f"no {pattern!r} on the screen:\n{screen}"
            time.sleep(0.05)
        return screen

    def wait_until_gone(self, pattern: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while re.search(pattern, screen := self.screen):
            assert time.monotonic() < deadline, f"{pattern!r} stays on the screen:\n{screen}"
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """Of the program that was started in it."""
        return int(self.tmux("display-message", "-p", "-t", "t", "#{pane_pid}"))


@contextmanager
def terminal(
    arguments: Sequence[str], *, cwd: Path, size: tuple[int, int] = (120, 40), env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run a Python program with these arguments in it; a line with its exit code stays when it has ended."""
    folder = Path(tempfile.mkdtemp(prefix="t2v-tmux-"))
    one = Terminal(folder / "socket")
    command = shlex.join([sys.executable, *arguments])
    shell = f"{command}; echo ended with $?; exec cat"
    settings = {"TERM": "tmux-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1", **(env or {})}
    words = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
    columns, rows = size
    place = ["-x", str(columns), "-y", str(rows), "-c", str(cwd)]
    try:
        # A test runner's own COLUMNS and LINES would go before the terminal's size.
        one.tmux("new-session", "-d", "-s", "t", *place, *words, "env", *WITHOUT, "sh", "-c", shell)
        yield one
    finally:
        subprocess.run([TMUX or "tmux", "-S", str(one.socket), "kill-server"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
