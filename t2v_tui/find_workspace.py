"""Which workspace a command is about."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace, followed


def find_workspace(asked: Path | None, environ: Mapping[str, str]) -> Workspace:
    """Return the workspace that was named, by flag or T2V_WORKSPACE, or the one around the current folder.

    Raises InvalidRequest when the named folder does not exist.
    """
    named = asked or (Path(environ["T2V_WORKSPACE"]) if environ.get("T2V_WORKSPACE") else None)
    if named is None:
        return Workspace.find(Path.cwd())
    root = followed(named)
    if not root.is_dir():
        origin = "--workspace" if asked else "T2V_WORKSPACE"
        raise InvalidRequest(
            f"{origin}: there is no folder {root}", hint=f"t2v init {shlex.quote(str(named))} makes one"
        )
    return Workspace(root)
