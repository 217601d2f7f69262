"""What is t2v's own in a workspace that was somebody's before: `.t2v/` and `jobs/`, and nothing else.

An environment lies in `.t2v/venv`. Versions before made one in `venv/`, marked by `t2v-installed.json`; it is used on
through a link, and never written into again: it may have been the user's own before that version installed into it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..base.asked import take, workspace
from ..base.files import Json, Problem, read_json
from ..base.private import make_folder, why_open
from ..jobs.releases import VENV

INSTALLED = "t2v-installed.json"
EARLIER = "venv"
OWN = (".t2v", "jobs")


def obstacle(root: Path) -> str:
    """Return why t2v cannot keep its own folders here, in one sentence; "" when it can. Looks only."""
    if root.exists() and not root.is_dir():
        return f"{root} is a file, not a folder"
    if why := next(filter(None, (_not_ours(root / name) for name in OWN)), ""):
        return why
    if why := why_open(root, str(root / VENV / "bin/python")):
        return why
    there = next(path for path in (root, *root.parents) if path.exists())
    for path in (there, *(root / name for name in OWN if (root / name).exists())):
        if not os.access(path, os.W_OK | os.X_OK):
            return f"{path} cannot be written to"
    return ""


def _not_ours(path: Path) -> str:
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"{path} is a link to {path.readlink()}, which is not there" if path.is_symlink() else ""
    except OSError as error:
        return f"{path}: {error.strerror}"
    if not path.is_dir():
        return f"{path} is a file, and t2v needs a folder of that name"
    # Programs are run out of it: who may write there could run them as us.
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path} belongs to another user (uid {status.st_uid}), who could change what runs there"
    return ""


def adoptable(root: Path, requirements_sha256: str) -> bool:
    """Return True for an earlier version's `venv/` that holds just what is wanted, with none of our own yet."""
    marked = read_json(root / EARLIER / INSTALLED) or {}
    return not os.path.lexists(root / VENV) and marked.get("requirements_sha256") == requirements_sha256


def beside(root: Path) -> str:
    """Return what lies at `venv`, which bootstrap leaves as it is; "" for nothing."""
    path = root / EARLIER
    with suppress(OSError):
        if not os.path.lexists(path):
            return ""
        if (path / INSTALLED).is_file():
            return "an environment that an earlier t2v installed into"
        if path.is_symlink():
            return f"a link to {path.readlink()}"
        if (path / "pyvenv.cfg").is_file():
            return "a Python environment"
    return "a folder" if path.is_dir() else "a file"


def adopt_venv(parameters: Json) -> Json:
    """Go on with the environment that an earlier version made in `venv/`: gigabytes need not come again."""
    root = workspace(parameters)
    if not adoptable(root, take(parameters, "requirements_sha256", str)):
        raise Problem("failed", f"{root / EARLIER} does not hold what this t2v needs", "run t2v bootstrap again")
    make_folder(root / ".t2v")
    (root / VENV).symlink_to(Path("..") / EARLIER)
    return {}
