"""`t2v init`: a workspace to begin with."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from t2v_core.disk.plain_toml import read_toml
from t2v_core.workspace import Workspace, followed
from t2v_tui.cli.main import Common
from t2v_tui.new_workspace import make_workspace


def init(
    ctx: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Folder of the workspace. [default: --workspace, or this one]")
    ] = None,
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Set up for the built-in world: small, no downloads, runs on a CPU.")
    ] = False,
) -> int:
    """Make a workspace: data/, checkpoints/, outputs/, jobs/ and a commented t2v.toml.

    What is already there stays as it is, so running it again is safe.

    \b
    Examples:
      t2v init                    here, for your own clips or MSR-VTT
      t2v init toy --shapes       in toy/, for the built-in world

    The workspace's path goes to stdout.
    """
    common: Common = ctx.obj
    asked = directory or common.workspace or Path(os.environ.get("T2V_WORKSPACE") or ".")
    workspace = Workspace(followed(asked))
    is_new = make_workspace(workspace, shapes=shapes)
    say(f"{'wrote' if is_new else 'kept'} {workspace.settings_file}")
    is_for_shapes = 'data = "data/shapes"' in read_toml(workspace.settings_file)[0]
    for line in _next_commands(workspace, shapes=is_for_shapes):
        say(line)
    print(workspace.root)
    return 0


def _next_commands(workspace: Workspace, *, shapes: bool) -> list[str]:
    is_here = workspace.root == Path.cwd()
    lines = [] if is_here else [f"  cd {shlex.quote(str(workspace.root))}"]
    if shapes:
        lines.append("  t2v data shapes")
    else:
        say("put clips into data/msr-vtt/videos, captions (train_9k.json, test_1k.json) into data/msr-vtt/annotations")
    prompt = "a red circle moving right" if shapes else "a dog running in the grass"
    return ["next:", *lines, "  t2v preprocess", "  t2v train", f'  t2v generate "{prompt}"']


def say(text: str) -> None:
    """Write a line to stderr."""
    print(text, file=sys.stderr)
