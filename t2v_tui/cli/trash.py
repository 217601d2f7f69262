"""`t2v trash`: results of this workspace into its trash, what lies there, and the way back."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from t2v_core.data.video.beside import find_settings
from t2v_core.errors import InvalidRequest
from t2v_core.format import ago, size
from t2v_core.workspace import Workspace, expanded
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace
from t2v_tui.library.trash import KEPT_S, Deleted, bring_back, deleted, empty, put_away


def trash(
    ctx: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH...]",
            help="Checkpoints and videos to put into the trash; with --back: the one to bring back. "
            "[default with --back: the newest]",
        ),
    ] = None,
    is_back: Annotated[bool, typer.Option("--back", help="Bring it back to where it was.")] = False,
    is_emptied: Annotated[bool, typer.Option("--empty", help="Delete all of it now, and free its space.")] = False,
) -> int:
    """Delete checkpoints and videos of this machine so that they can be brought back for 24 hours; list what was.

    After that they are removed for good.

    \b
    t2v trash                              what is in it
    t2v trash outputs/dog.mp4              put that one into it
    t2v trash --back                       undo the last delete
    t2v trash checkpoint_epoch_5 --back    bring that one back
    """
    common: Common = ctx.obj
    workspace, now_t = find_workspace(common.workspace, os.environ), time.time()
    if is_back and is_emptied:
        raise InvalidRequest("--back and --empty cannot be combined", "give one of them")
    if is_emptied and paths:
        raise InvalidRequest("--empty deletes all of it, and takes no path", "leave one of them out")
    if is_emptied:
        print(f"{size(empty(workspace, before_t=now_t))} freed", file=sys.stderr)
        return 0
    empty(workspace, before_t=now_t - KEPT_S)
    if paths and not is_back:
        gone = put_away(workspace, [one for path in paths for one in _with_settings(workspace, path)], now_t)
        print("\n".join(gone.paths))
        print("t2v trash --back brings it back within 24 hours", file=sys.stderr)
        return 0
    if is_back:
        if paths and paths[1:]:
            raise InvalidRequest("--back brings back one at a time", "name one of them")
        one = _chosen(workspace, paths[0] if paths else None)
        bring_back(workspace, one)
        print("\n".join(one.paths))
        return 0
    _list(deleted(workspace), now_t, as_json=common.as_json)
    return 0


def _list(rows: Sequence[Deleted], now_t: float, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"paths": one.paths, "t": one.t, "size_bytes": one.size_bytes} for one in rows], indent=2))
        return
    if not rows:
        print("nothing was deleted here within 24 hours", file=sys.stderr)
    for one in rows:
        print(f"{one.name}\t{size(one.size_bytes)}\tdeleted {ago(now_t - one.t)} ago")


def _with_settings(workspace: Workspace, path: str) -> Iterator[str]:
    """A result as it lies in the workspace, and of a video the .json beside it. Raises InvalidRequest."""
    within, typed = workspace.root / path, expanded(Path(path)).absolute()
    place = within if within.exists() else typed
    if not place.is_relative_to(workspace.root):
        raise InvalidRequest(f"{path} is not in the workspace {workspace.root}", "only its results have a trash")
    yield str(place.relative_to(workspace.root))
    if place.is_file() and (beside := find_settings(place)) is not None:
        yield str(beside.relative_to(workspace.root))


def _chosen(workspace: Workspace, name: str | None) -> Deleted:
    """Raises InvalidRequest when there is none of that name."""
    rows = deleted(workspace)
    for one in rows:
        if name is None or name in (one.name, PurePosixPath(one.name).name):
            return one
    there = ", ".join(PurePosixPath(one.name).name for one in rows) or "nothing"
    raise InvalidRequest(f"the trash has no {name}" if name else "the trash is empty", f"there is: {there}")
