"""`t2v doctor`: one line a check, and under it the line that mends it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from remote.errors import RemoteError
from remote.hosts.settings import LOCAL
from t2v_core.diagnosis.check import Check, State
from t2v_core.diagnosis.examine import examine, is_healthy, report
from t2v_core.specs import DoctorSpec
from t2v_core.workspace import Workspace, expanded
from t2v_tui.cli.main import Common
from t2v_tui.find_workspace import find_workspace

SIGNS = {State.GOOD: "✓", State.ODD: "!", State.BAD: "✗"}
COLOURS = {State.GOOD: "32", State.ODD: "33", State.BAD: "31"}
NAME_WIDTH = 13
WIDEST = 100

DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="PATH", help="Data set to look at. [default: training's]")
]
CheckpointsOption = Annotated[
    Path | None, typer.Option("--checkpoints", metavar="PATH", help="Folder to look at. [default: training's]")
]
ChecksumsOption = Annotated[
    bool, typer.Option("--checksums", help="Also read every data file and the newest checkpoint, about 1 GB/s.")
]
WorkspaceOption = Annotated[Path | None, typer.Option("--workspace", metavar="DIR", help="Workspace to use.")]
HostOption = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="NAME",
        help="Check that host instead, from the connection to its guard; paths are those of its workspace.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the checks to stdout as JSON.")]


def doctor(
    ctx: typer.Context,
    data: DataOption = None,
    checkpoints: CheckpointsOption = None,
    checksums: ChecksumsOption = False,
    workspace_: WorkspaceOption = None,
    host: HostOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check everything: Python, packages, torch and GPU, workspace and settings, disk, data, encoders, checkpoints.

    ✓ is good, ! works but deserves a look, ✗ will not work; below each of the last two is the line that fixes it.
    Nothing is changed, and without --host no connection is made. It works without torch.

    With --host: is the VM on, does it let you in, by which key; this t2v there, then all of the above as seen there
    (or as far as can be seen from here while it is bare), and the guard. Type the lines that fix things here,
    except those that begin with "there:".

    \b
    Examples:
      t2v doctor
      t2v doctor --checksums      read every byte as well
      t2v doctor --json
      t2v doctor --host a100-golden

    The checks go to stdout. Exit code 1 when something is ✗, 3 when the host is off or cannot be reached.
    """
    common: Common = ctx.obj
    workspace = find_workspace(workspace_ or common.workspace, os.environ)
    is_json = as_json or common.as_json
    if host in (None, LOCAL):
        spec = DoctorSpec(data=_absolute(data), checkpoints=_absolute(checkpoints), checksums=checksums)
        return _show_checks(examine(spec, workspace, os.environ), is_json=is_json)
    asked: dict[str, Any] = {"checksums": checksums}
    asked |= {name: path for name, path in (("data", data), ("checkpoints", checkpoints)) if path is not None}
    return _show_checks(_there(host, workspace, DoctorSpec(**asked)), is_json=is_json, host=host)


def _there(host: str, workspace: Workspace, spec: DoctorSpec) -> Iterator[Check]:
    from remote.host_factory import host_named
    from remote.launch.doctor import examine_host  # this machine's doctor needs no SSH

    with closing(host_named(host, workspace)) as there:
        yield from examine_host(there, workspace, spec)


def _show_checks(found: Iterator[Check], *, is_json: bool, host: str = "") -> int:
    """Each as it is found, then the exit code. A host that cannot be asked further ends with what it was asked."""
    checks: list[Check] = []
    code = 0
    try:
        for check in found:
            checks.append(check)
            if not is_json:
                print("\n".join(check_lines(check, columns=_columns(), colour=_is_coloured())), flush=True)
    except RemoteError as error:
        if is_healthy(checks):  # nothing has said so yet
            raise
        code = error.exit_code
    if is_json:
        print(json.dumps(({"host": host} if host else {}) | report(checks), ensure_ascii=False))
    else:
        print(summary(checks))
    return code or (0 if is_healthy(checks) else 1)


def _absolute(path: Path | None) -> Path | None:
    """A relative path means the folder the command was typed in."""
    return None if path is None else Path.cwd() / expanded(path)


def _columns() -> int:
    return min(WIDEST, shutil.get_terminal_size().columns)


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "")


def check_lines(check: Check, *, columns: int, colour: bool) -> Iterator[str]:
    """Yield sign, name and sentence, wrapped beside the name; the mending line whole, so that it can be copied."""
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
    """Return `11 good, 2 want a look, 1 bad`"""
    words = {State.GOOD: "good", State.ODD: "to look at", State.BAD: "bad"}
    counts = {state: sum(check.state is state for check in checks) for state in State}
    return ", ".join(f"{counts[state]} {words[state]}" for state in State if counts[state])
