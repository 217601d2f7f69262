"""Copying text out of the terminal, also over SSH and in tmux; nobody answers whether it came, so a file has it too."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.app import App

from t2v_core.disk.files import staged_file
from t2v_core.format import counted

# Terminals drop longer ones without a word: 100,000 characters of base64 are the smallest limit known (xterm, tmux).
OSC52_BYTES = 74_000
PROGRAM_TIMEOUT_S = 1.0
# name → what has to be in the environment, and the program with its arguments
PROGRAMS = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
)


def osc52(text: str, environ: Mapping[str, str]) -> str:
    """Return the sequence that asks a terminal to take `text`; within tmux also wrapped, for the terminal around it."""
    plain = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    if not environ.get("TMUX"):
        return plain
    wrapped = plain.replace("\x1b", "\x1b\x1b")
    return f"{plain}\x1bPtmux;{wrapped}\x1b\\"


def program_for(environ: Mapping[str, str], platform: str = sys.platform) -> tuple[str, ...] | None:
    """Return a program of this desktop that takes the clipboard; None over SSH, where it would be another machine's."""
    if environ.get("SSH_TTY") or environ.get("SSH_CONNECTION"):
        return None
    if platform == "darwin":
        return ("pbcopy",)
    return next((argv for name, argv in PROGRAMS if environ.get(name) and shutil.which(argv[0])), None)


def copy_text(app: App[Any], text: str, file: Path, environ: Mapping[str, str] | None = None) -> str:
    """Copy `text` and say in one sentence where it is now. Raises EngineError when `file` cannot be written."""
    environ = os.environ if environ is None else environ
    with staged_file(file, mode=0o600) as partial:
        partial.write_text(text)
    lines = text.count("\n") + 1
    what = f"{counted(lines, 'line')}"
    program = program_for(environ)
    if program is not None and _ran(program, text):
        return f"copied {what}; also in {file}"
    if len(text.encode()) > OSC52_BYTES:
        return f"{what} are too much for a terminal's clipboard; they are in {file}"
    app.copy_to_clipboard(text)
    if environ.get("TMUX") and (driver := app._driver) is not None:
        driver.write(osc52(text, environ))
    return f"copied {what} (if the terminal allows it); also in {file}"


def _ran(program: tuple[str, ...], text: str) -> bool:
    try:
        # xclip stays behind to serve what was copied; a pipe of its output would never end.
        done = subprocess.run(
            program, input=text.encode(), timeout=PROGRAM_TIMEOUT_S, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
