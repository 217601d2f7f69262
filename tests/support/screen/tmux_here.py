"""A real terminal: tmux with a server of its own, in which a program is typed at and looked at."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.house.needs import needs
from support.warm.python import warm

DEADLINE_S = 180.0


@dataclass
class Terminal:
    """One pane of one server, named by its socket."""

    socket: Path

    def tmux(self, *arguments: str) -> str:
        command = [*tmux(), "-S", str(self.socket), "-f", os.devnull, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    @property
    def pid(self) -> int:
        """Of the shell that has started the program."""
        return int(self.tmux("display-message", "-p", "-t", "t2v", "#{pane_pid}"))

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

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-t", "t2v", "-x", str(columns), "-y", str(rows))

    def wait_for(self, *patterns: str, timeout_s: float = DEADLINE_S) -> str:
        """The screen as soon as all of them are somewhere on it."""
        began = time.monotonic()
        while not all(re.search(pattern, screen := self.text()) for pattern in patterns):
            assert time.monotonic() < began + timeout_s, f"not all of {patterns} on:\n{screen}"
            wait_a_little(began)
        return screen

    def wait_until_gone(self, pattern: str) -> None:
        self.wait_until(lambda: not re.search(pattern, self.text()))

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() < began + timeout_s, self.text()
            wait_a_little(began)


def wait_a_little(began: float) -> None:
    """A look begins a tmux of its own: who has waited for long looks less often, four times a second at least."""
    time.sleep(0.05 + min(0.2, 0.1 * (time.monotonic() - began)))


@contextmanager
def terminal(
    argv: Sequence[str], *, cwd: Path, size: tuple[int, int] = (120, 40), env: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run a program in a terminal of that size, which ends with the context; its exit code stays on the screen."""
    tmux()
    folder = Path(tempfile.mkdtemp(prefix="t2v-tmux-"))
    shown = Terminal(folder / "socket")
    settings = {"TERM": "tmux-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1", **(env or {})}
    # A test runner's own COLUMNS and LINES would go before the terminal's size, its BENCH_MACHINE for a setting.
    dropped = ["COLUMNS", "LINES", *(name for name in os.environ if name.startswith("T2V_"))]
    unset = [word for name in dropped for word in ("-u", name)]
    set_to = [f"{name}={value}" for name, value in settings.items() if name not in ("COLUMNS", "LINES")]
    shell = f"{shlex.join(['env', *unset, *set_to, *argv])}; echo ended with $?; exec cat"
    columns, rows = map(str, size)
    try:
        shown.tmux("new-session", "-d", "-s", "t2v", "-x", columns, "-y", rows, "-c", str(cwd), "sh", "-c", shell)
        yield shown
    finally:
        subprocess.run([*tmux(), "-S", str(shown.socket), "kill-server"], capture_output=True, check=False, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def tmux() -> Sequence[str]:
    """The real one."""
    return [needs("tmux")]


def t2v_tui(*options: str) -> list[str]:
    return [warm(), "-m", "t2v_tui.main", *options]
