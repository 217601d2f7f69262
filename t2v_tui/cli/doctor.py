"""`t2v doctor`: one line a check, and under it the line that mends it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from t2v_core.diagnosis.check import Check, State
from t2v_core.doctor import examine, is_healthy, report
from t2v_core.specs import DoctorSpec
from t2v_tui.cli.main import Common
from t2v_tui.cli.run import find_workspace

SIGNS = {State.GOOD: "✓", State.ODD: "!", State.BAD: "✗"}
COLOURS = {State.GOOD: "32", State.ODD: "33", State.BAD: "31"}
NAME_WIDTH = 13
WIDEST = 100


def doctor(
    ctx: typer.Context,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="PATH", help="Data set to look at. [default: training's]")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option("--checkpoints", metavar="PATH", help="Folder to look at. [default: training's]")
    ] = None,
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Also read every file of data and newest checkpoint, about 1 GB/s.")
    ] = False,
    workspace_: Annotated[Path | None, typer.Option("--workspace", metavar="DIR", help="Workspace to use.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the checks to stdout as JSON.")] = False,
) -> int:
    """Check everything: Python, packages, torch and GPU, workspace and settings, disk, data, encoders, checkpoints.

    ✓ is good, ! works and wants a look, ✗ will not work; under each of the last two stands the line that mends it.
    Nothing is changed and no connection is made. It works without torch.

    \b
    Examples:
      t2v doctor
      t2v doctor --checksums      read every byte as well
      t2v doctor --json

    The checks go to stdout. Exit code 1 when something is ✗.
    """
    common: Common = ctx.obj
    workspace = find_workspace(workspace_ or common.workspace, os.environ)
    spec = DoctorSpec(data=_absolute(data), checkpoints=_absolute(checkpoints), checksums=checksums)
    is_json = as_json or common.as_json
    checks = []
    for check in examine(spec, workspace, os.environ):
        checks.append(check)
        if not is_json:
            print("\n".join(lines_of(check, columns=_columns(), colour=_is_coloured())), flush=True)
    if is_json:
        print(json.dumps(report(checks), ensure_ascii=False))
    else:
        print(summary(checks))
    return 0 if is_healthy(checks) else 1


def _absolute(path: Path | None) -> Path | None:
    """A relative path means the folder the command was typed in."""
    return None if path is None else Path.cwd() / path.expanduser()


def _columns() -> int:
    return min(WIDEST, shutil.get_terminal_size().columns)


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "")


def lines_of(check: Check, *, columns: int, colour: bool) -> Iterator[str]:
    """Sign, name and sentence, wrapped beside the name; the mending line whole, so that it can be copied."""
    sign = SIGNS[check.state]
    indent = " " * (NAME_WIDTH + 3)
    wrapped = textwrap.wrap(
        check.sentence, max(20, columns - len(indent)), break_long_words=False, break_on_hyphens=False
    )
    first, *rest = wrapped or [""]
    shown = f"\x1b[{COLOURS[check.state]}m{sign}\x1b[0m" if colour else sign
    yield f"{shown} {check.name:<{NAME_WIDTH}} {first}"
    yield from (indent + line for line in rest)
    if check.mend:
        yield f"{indent}→ {check.mend}"


def summary(checks: list[Check]) -> str:
    """`11 good, 2 want a look, 1 bad`"""
    words = {State.GOOD: "good", State.ODD: "to look at", State.BAD: "bad"}
    counts = {state: sum(check.state is state for check in checks) for state in State}
    return ", ".join(f"{counts[state]} {words[state]}" for state in State if counts[state])
