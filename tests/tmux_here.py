"""A real terminal: tmux with a server of its own, in which a program is typed at and looked at."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEADLINE_S = 90.0


@dataclass
class Terminal:
    """One pane of one server, named by its socket."""

    socket: Path

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.socket), "-f", os.devnull, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    def press(self, *keys: str) -> None:
        """Keys as tmux names them: Enter, Escape, C-g, Space."""
        self.tmux("send-keys", "-t", "t2v", *keys)

    def escape(self) -> None:
        """Escape alone: with another key right behind it, a terminal cannot tell it from Alt and that key."""
        self.press("Escape")
        time.sleep(0.3)

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-t", "t2v", "-l", text)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "t2v")

    def colours(self) -> str:
        """The same with its escape sequences."""
        return self.tmux("capture-pane", "-p", "-e", "-t", "t2v")

    def resize(self, width: int, height: int) -> None:
        self.tmux("resize-window", "-t", "t2v", "-x", str(width), "-y", str(height))

    def wait_for(self, *texts: str, seconds: float = DEADLINE_S) -> str:
        """The screen as soon as all of them stand on it."""
        deadline = time.monotonic() + seconds
        while not all(text in (screen := self.text()) for text in texts):
            assert time.monotonic() < deadline, f"not all of {texts} on:\n{screen}"
            time.sleep(0.05)
        return screen

    def wait_until(self, is_so: Callable[[], bool], seconds: float = DEADLINE_S) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)


@contextmanager
def terminal(
    folder: Path, argv: Sequence[str], *, size: tuple[int, int] = (120, 40), env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run a program in a terminal of that size, which ends with the context."""
    assert shutil.which("tmux"), "tmux is missing: apt-get install tmux"
    shown = Terminal(folder / "tmux")
    settings = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
    command = shlex.join(
        ["env", "-u", "COLUMNS", "-u", "LINES", *(f"{name}={value}" for name, value in settings.items()), *argv]
    )
    width, height = map(str, size)
    shown.tmux("new-session", "-d", "-s", "t2v", "-x", width, "-y", height, f"{command}; echo ended with $?; cat")
    try:
        yield shown
    finally:
        shown.tmux("kill-server")


def t2v_tui(workspace: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "t2v_tui.main", "--workspace", str(workspace), *options]
