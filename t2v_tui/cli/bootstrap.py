"""`t2v bootstrap`: makes another machine ready, and says of each step whether something had to be done."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status as RichStatus
from rich.text import Text

from remote.host_factory import host_named
from remote.hosts.host import Host
from remote.hosts.settings import LOCAL
from remote.setup.bootstrap import ensure_ready, look_beforehand
from remote.steps import Status, StepState
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace

STYLES = {Status.OK: "dim", Status.DONE: "green", Status.NOTE: "yellow", Status.FAILED: "red"}


def bootstrap(
    ctx: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Host of t2v.toml.")],
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be created there, without changing anything.")
    ] = False,
    is_replacing: Annotated[
        bool, typer.Option("--replace", help="Also replace an environment that another workspace installed there.")
    ] = False,
) -> int:
    """See what a host lacks for the engine, and install it there: this t2v, a virtual environment, the packages.

    It looks first and changes only what is missing, so it can be run at any time, and again after an interruption. The
    packages are installed by a job on the host, which keeps running without this terminal; `t2v logs` shows pip's
    output.

    \b
    Examples:
      t2v bootstrap --host a100-golden --dry-run
      t2v bootstrap --host a100-golden

    Only .t2v/ and jobs/ in the workspace there are t2v's; whatever else is in it stays as it is.
    """
    common: Common = ctx.obj
    if host == LOCAL:
        raise InvalidRequest("t2v runs on this machine already", hint="t2v doctor checks it")
    workspace = find_workspace(common.workspace, os.environ)
    there = host_named(host, workspace)
    if is_dry:
        return _told_beforehand(there, workspace, as_json=common.as_json)
    told = ToldSteps()
    with closing(there), told.console.status(f"looking at {host}") as spinner:
        ready = ensure_ready(there, workspace, tell=partial(told.tell, spinner), is_replacing=is_replacing)
    if common.as_json:
        steps = [{"name": one.name, "status": one.status, "detail": one.detail} for one in told.ended]
        print(json.dumps({"release": ready.release, "has_changed": ready.has_changed, "steps": steps}, indent=2))
    else:
        print(f"{host} is ready" + ("" if ready.has_changed else "; there was nothing to do"), file=sys.stderr)
    return 0


class ToldSteps:
    """Steps as lines on stderr, and the one that is being done beside a spinner. ended: those that are over"""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.ended: list[StepState] = []

    def tell(self, spinner: RichStatus, state: StepState) -> None:
        """Show how a step stands; a failed one is the error that ends the command."""
        if state.status is Status.DOING:
            spinner.update(Text(f"{state.name}: {state.detail}", overflow="ellipsis", no_wrap=True))
        elif state.status is not Status.FAILED:
            self.ended.append(state)
            beside = f" ({state.hint})" if state.hint else ""
            line = f"{state.name:<13} {state.status:<5} {state.detail}{beside}"
            self.console.print(Text(line.rstrip(), style=STYLES[state.status]))


def _told_beforehand(there: Host, workspace: Workspace, *, as_json: bool) -> int:
    """What would be made, one line a thing, on stdout."""
    with closing(there):
        found = look_beforehand(there, workspace)
    if as_json:
        print(json.dumps({"changes": [asdict(change) for change in found]}, indent=2))
        return 0
    for change in found:
        print(change)
    word = "nothing was changed" if found else f"{there.name} is ready; there is nothing to do"
    print(f"{word}; to find out, t2v copied its agent (a few hundred kB) to ~/.cache/t2v there", file=sys.stderr)
    return 0
