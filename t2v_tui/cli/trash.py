"""`t2v trash`: what was deleted here from the terminal UI, and the way back."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import PurePosixPath
from typing import Annotated

import typer

from t2v_core.errors import InvalidRequest
from t2v_core.format import ago, size
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace
from t2v_tui.library.trash import KEPT_S, Deleted, bring_back, deleted, empty


def trash(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="With --back: which one. [default: the newest]")] = None,
    is_back: Annotated[bool, typer.Option("--back", help="Bring it back to where it was.")] = False,
    is_emptied: Annotated[bool, typer.Option("--empty", help="Delete all of it now, and free its space.")] = False,
) -> int:
    """List checkpoints and videos deleted here within 24 hours; after that they are removed for good.

    \b
    t2v trash                              what is in it
    t2v trash --back                       undo the last delete
    t2v trash checkpoint_epoch_5 --back    bring that one back
    """
    common: Common = ctx.obj
    workspace, now_t = find_workspace(common.workspace, os.environ), time.time()
    if is_back and is_emptied:
        raise InvalidRequest("--back and --empty cannot be combined", "give one of them")
    if is_emptied:
        print(f"{size(empty(workspace, before_t=now_t))} freed", file=sys.stderr)
        return 0
    empty(workspace, before_t=now_t - KEPT_S)
    if is_back:
        one = _chosen(workspace, name)
        bring_back(workspace, one)
        for path in one.paths:
            print(path)
        return 0
    rows = deleted(workspace)
    if common.as_json:
        print(json.dumps([{"paths": one.paths, "t": one.t, "size_bytes": one.size_bytes} for one in rows], indent=2))
        return 0
    if not rows:
        print("nothing was deleted here within 24 hours", file=sys.stderr)
    for one in rows:
        print(f"{one.name}\t{size(one.size_bytes)}\tdeleted {ago(now_t - one.t)} ago")
    return 0


def _chosen(workspace: Workspace, name: str | None) -> Deleted:
    """Raises InvalidRequest when there is none of that name."""
    rows = deleted(workspace)
    for one in rows:
        if name is None or name in (one.name, PurePosixPath(one.name).name):
            return one
    there = ", ".join(PurePosixPath(one.name).name for one in rows) or "nothing"
    raise InvalidRequest(f"the trash has no {name}" if name else "the trash is empty", f"there is: {there}")
