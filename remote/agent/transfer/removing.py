"""Taking results away: a checkpoint or a video at once or not at all, and nothing else of a workspace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..base.asked import arguments_in, take, workspace
from ..base.elsewhere import this_machine
from ..base.files import Json, Problem

# What people make with the engine and can make again; settings, data and jobs are nobody's to remove from afar.
MAY_GO = ("checkpoints", "outputs")


def remove(parameters: Json) -> Json:
    """Remove results; returns those that were there.

    paths: of checkpoints or outputs, relative to the workspace; one that is not there is gone already.
    """
    root = workspace(parameters)
    paths = [allowed(root, text) for text in arguments_in(take(parameters, "paths", list), "paths")]
    return {"removed": [text for text, path in paths if gone(path)]}


def allowed(root: Path, text: str) -> tuple[str, Path]:
    """Return a path as it was asked for, and in full. Raises Problem unless it lies in a folder of MAY_GO."""
    parts = Path(text).parts
    if len(parts) < 2 or parts[0] not in MAY_GO or ".." in parts:
        raise Problem("asked-wrongly", f"{text!r} is nothing in {' or '.join(MAY_GO)}", "name one checkpoint or video")
    path = root / text
    if not path.parent.resolve().is_relative_to(root):
        raise Problem("asked-wrongly", f"{text!r} leads out of the workspace", "remove it where it really is")
    return text, path


def gone(path: Path) -> bool:
    """Remove a file or folder; False when it was not there.

    A kill on the way never leaves half of a folder under its name.
    """
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".partial-{this_machine()['id'][:8]}.{os.getpid()}-gone-{path.name}")
        path.replace(aside)
        shutil.rmtree(aside)
        return True
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
