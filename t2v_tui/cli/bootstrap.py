"""`t2v bootstrap`: makes another machine ready, and says of each step whether something had to be done."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from remote.bootstrap import ensure_ready
from remote.host_settings import LOCAL
from remote.hosts import host_named
from remote.steps import Status, StepState
from t2v_core.errors import AskedWrongly
from t2v_tui.cli.main import Common
from t2v_tui.cli.run import find_workspace

STYLES = {Status.OK: "dim", Status.DONE: "green", Status.NOTE: "yellow", Status.FAILED: "red"}


def bootstrap(
    ctx: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="Host of t2v.toml.")],
) -> int:
    """Look what a host lacks for the engine, and put it there: this t2v, a virtual environment, the packages.

    Looks first and changes only what is missing, so it can be run at any time, and again after it was interrupted. The
    packages are installed by a job on the host, which goes on without this terminal; `t2v logs` shows what pip says.

    \b
    Example:
      t2v bootstrap --host a100-golden
    """
    common: Common = ctx.obj
    if host == LOCAL:
        raise AskedWrongly("this machine is where t2v runs already", hint="t2v doctor checks it")
    workspace = find_workspace(common.workspace, os.environ)
    there = host_named(host, workspace)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    ended: list[StepState] = []
    try:
        with console.status(f"looking at {host}") as spinner:

            def tell(state: StepState) -> None:
                if state.status is Status.DOING:
                    spinner.update(Text(f"{state.name}: {state.detail}", overflow="ellipsis", no_wrap=True))
                elif state.status is not Status.FAILED:  # which is the error that ends the command
                    ended.append(state)
                    beside = f" ({state.hint})" if state.hint else ""
                    line = f"{state.name:<13} {state.status:<5} {state.detail}{beside}"
                    console.print(Text(line.rstrip(), style=STYLES[state.status]))

            ready = ensure_ready(there, workspace, tell=tell)
    finally:
        there.close()
    if common.as_json:
        steps = [{"name": one.name, "status": one.status, "detail": one.detail} for one in ended]
        print(json.dumps({"release": ready.release, "has_changed": ready.has_changed, "steps": steps}, indent=2))
    else:
        print(f"{host} is ready" + ("" if ready.has_changed else "; there was nothing to do"), file=sys.stderr)
    return 0
