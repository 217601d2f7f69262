"""What is code: what git lists, and the lock file. Nothing that git ignores leaves this machine by a push of code."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from t2v_core.errors import InvalidRequest

GIT_TIMEOUT_S = 60.0
# They pin what is installed, so they belong to the code also where they are ignored.
LOCK_FILES = ("uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "Pipfile.lock", "conda-lock.yml", "constraints.txt")


@dataclass(frozen=True)
class Listed:
    """paths: relative to the folder, with `/`; passed_over: (path, why)"""

    paths: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...]


def listed_by_git(folder: Path) -> Listed:
    """Return the files of `folder` that git tracks or would add, as they lie there now. Raises InvalidRequest."""
    command = ["git", "-C", str(folder), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        said = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=GIT_TIMEOUT_S, check=True)
    except FileNotFoundError as error:
        raise InvalidRequest(
            "git is not installed, and it decides what counts as code", "install it, or push a PATH"
        ) from error
    except subprocess.CalledProcessError as error:
        said_lines = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        # On a disk of its own a folder gets a second line, "Stopping at filesystem boundary".
        why = next((line for line in said_lines if line.startswith("fatal:")), said_lines[-1])
        hint = "git init there, or push a PATH"
        raise InvalidRequest(f"git lists nothing in {folder}: {why}", hint) from error
    except subprocess.TimeoutExpired as error:
        raise InvalidRequest(f"git needs more than {GIT_TIMEOUT_S:g} s to list {folder}", "push a PATH") from error
    names = {os.fsdecode(name) for name in said.stdout.split(b"\0") if name}
    names |= {name for name in LOCK_FILES if (folder / name).is_file()}
    found: list[str] = []
    passed_over: list[tuple[str, str]] = []
    for name in sorted(names):
        why = _why_not(folder / name, name)
        if why is None:
            found.append(name)
        elif why:
            passed_over.append((name, why))
    return Listed(tuple(found), tuple(passed_over))


def _why_not(path: Path, name: str) -> str | None:
    """None: it is pushed. "": it was deleted here, which needs no word."""
    if name.startswith(".t2v/"):
        return ""
    if path.is_symlink():
        return "it is a link"
    if path.is_dir():
        return "it is a repository of its own"
    if path.is_file():
        return None
    return "it is not a regular file" if path.exists() else ""
