"""`t2v ls`: a folder as its user knows it, here or on a host."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from remote.hosts.settings import LOCAL
from remote.jobs.host_pool import HostPool
from t2v_core.workspace import expanded
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace
from t2v_tui.library.folder_view import listing_of, told_lines


def ls(
    ctx: typer.Context,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="Folder or file, relative to the workspace.")] = ".",
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="NAME", help="Host of t2v.toml. [default: this machine]", show_default=False),
    ] = None,
    patience: Annotated[
        float,
        typer.Option("--patience", min=0.1, max=600.0, metavar="SECONDS", help="How long to spend adding up folders."),
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Write it to stdout as JSON.")] = False,
) -> int:
    """List a folder with the size, age and kind of everything in it. Nothing there is changed.

    A folder's size includes all that is below it.

    It knows the previous system's files by name and first bytes: checkpoint_epoch_5.pt, latents, text embeddings.
    "≥" before a size means there was no time to add it all up; --patience allows more.

    \b
    Examples:
      t2v ls --host a100-golden
      t2v ls checkpoints --host a100-golden
      t2v ls data/msr-vtt --host a100-golden --patience 30
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    # Relative to where it is typed, as every path of a command line; on a host there is only the workspace.
    asked = path if host not in (None, LOCAL) else str(expanded(Path(path)).absolute())
    with HostPool(workspace) as hosts:
        listing = listing_of(hosts.jobs(host or LOCAL), asked, patience)
    if as_json or common.as_json:
        print(json.dumps(listing, indent=2, default=vars))
        return 0
    for line in told_lines(listing, time.time()):
        print(line)
    if not listing.is_whole:
        print(f"{listing.count:,} things are there; the first {len(listing.entries):,} are shown", file=sys.stderr)
    return 0
