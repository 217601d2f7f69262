"""Videos that somebody likes, in this workspace: `.t2v/favourites.json`, paths relative to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from t2v_core.disk.files import write_json
from t2v_core.disk.opening import read_bytes
from t2v_core.disk.plain_json import parsed
from t2v_core.disk.private import make_folder
from t2v_core.workspace import Workspace


def file_of(workspace: Workspace) -> Path:
    """Return where they are kept."""
    return workspace.root / ".t2v" / "favourites.json"


def read_favourites(workspace: Workspace) -> frozenset[str]:
    """Return their paths; none when there are none, or somebody broke the file."""
    try:
        said = parsed(read_bytes(file_of(workspace)))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(one for one in said if isinstance(one, str)) if isinstance(said, list) else frozenset()


def turn_favourites(workspace: Workspace, paths: Iterable[str]) -> frozenset[str]:
    """Make favourites of these, or, where all of them are, of none; returns all that there are then.

    Raises EngineError when the file cannot be written.
    """
    known, turned = read_favourites(workspace), frozenset(paths)
    now = known - turned if turned <= known else known | turned
    make_folder(file_of(workspace).parent)
    write_json(file_of(workspace), sorted(now))
    return now
