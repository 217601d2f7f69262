"""`t2v runs`: the trainings there are, what differs between them, their curves as files, their names."""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from remote.errors import JobNotFound
from remote.jobs.host_pool import HostPool
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace, expanded
from t2v_tui.cli.main import Common
from t2v_tui.cli.which_job import KnownJobs
from t2v_tui.find_workspace import find_workspace
from t2v_tui.library.runs.board import Scored, evaluations, events_of, row_of, scores_by_run, sessions_of
from t2v_tui.library.runs.labels import Label, keep_label, label_of, why_unreadable
from t2v_tui.library.runs.measured import Measured, RunReader
from t2v_tui.library.runs.settings import asked_here, differing, with_defaults
from t2v_tui.library.runs.traces import Axis, trace_of, xs_of
from t2v_tui.store.runs import SORTS, RunRow, fits, in_order
from t2v_tui.store.state import JobKey
from t2v_tui.text.runs.run_comparison import comparison, table_lines
from t2v_tui.text.runs.run_table import COLUMNS, cell

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Its name, its id, or any part of it that is unique.", show_default=False)
]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Names, ids, or unique parts of ids.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write it to stdout as JSON.")]
# More than a terminal is wide, and a chart wider than any screen has dots.
DOTS = 4000
LISTED = "t2v runs lists those in jobs/ and on hosts; names are kept in .t2v/"


@dataclass(frozen=True)
class Read:
    """A training and what was read of it. settings: with defaults; asked: those of them that somebody set"""

    row: RunRow
    measured: Measured
    settings: dict[str, Any]
    asked: Mapping[str, Any]
    scored: Sequence[Scored]


def read_runs(workspace: Workspace, asked: Sequence[str] = ()) -> list[Read]:
    """Read the trainings that are at hand, or those that are asked for, in that order.

    Raises InvalidRequest when one fits several, JobNotFound with the nearest names when one fits none.
    """
    with HostPool(workspace) as hosts:
        listed = {
            JobKey(one.host, one.row.job): one.row for one in KnownJobs(hosts).at_hand() if one.row.verb == "train"
        }
    labels = {key: label_of(workspace, key) for key in listed}
    keys = [_find(workspace, one, labels) for one in asked] if asked else list(listed)
    measured = {key: _measured(workspace, key) for key in dict.fromkeys(keys)}
    scored = scores_by_run(evaluations(workspace), {key: one.checkpoints for key, one in measured.items()})
    sessions = {host: sessions_of(workspace, host) for host in {key.host for key in keys}}
    found = []
    for key in dict.fromkeys(keys):
        said = asked_here(workspace, key)
        settings = {} if said is None else with_defaults(said)
        row = row_of(
            key, listed[key], settings=settings, label=labels[key], measured=measured[key],
            scored=scored.get(key, ()), sessions=sessions[key.host], now_t=time.time(),
        )  # fmt: skip
        found.append(Read(row, measured[key], settings, said or {}, scored.get(key, ())))
    return found


def _measured(workspace: Workspace, key: JobKey) -> Measured:
    reader = RunReader(events_of(workspace, key))
    while reader.read():
        pass
    return reader.measured()


def _find(workspace: Workspace, asked: str, labels: dict[JobKey, Label]) -> JobKey:
    """By name, by id, or by a part of the id that no other has."""
    found = [key for key, label in labels.items() if asked in (label.name, key.job)]
    found = found or [key for key in labels if asked in key.job]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(key.job for key in found[:5])
        raise InvalidRequest(f"'{asked}' matches {len(found)} trainings: {several}", hint="type more of the id")
    if not labels:
        raise JobNotFound(
            f"there is no training '{asked}', nor any other, here or on the hosts", "t2v train starts one"
        )
    names = [name for key, label in labels.items() for name in (key.job, label.name) if name]
    near = difflib.get_close_matches(asked, names, n=2, cutoff=0.5)
    unread = next(filter(None, (why_unreadable(workspace, key) for key in labels)), "")
    raise JobNotFound(
        f"there is no training '{asked}'" + (f" among those whose names can be read ({unread})" if unread else ""),
        f"did you mean {' or '.join(near)}?" if near else LISTED,
    )


def list_runs(common: Common, *, sort: str, is_reversed: bool, wanted: str, as_json: bool) -> int:
    """Write the trainings to stdout, as a table or as JSON. Raises InvalidRequest for an order that does not exist."""
    if sort not in SORTS:
        raise InvalidRequest(f"there is no column '{sort}' to sort by", f"there is: {', '.join(SORTS)}")
    workspace = find_workspace(common.workspace, os.environ)
    rows = [one.row for one in read_runs(workspace)]
    rows = in_order([row for row in rows if fits(row, wanted)], sort, is_reversed=is_reversed)
    if as_json:
        print(json.dumps([as_values(row) for row in rows], ensure_ascii=False))
        return 0
    for line in _lines_of(rows):
        print(line)
    if not rows:
        print("no training yet: t2v train starts one" if not wanted else f"no training has '{wanted}'", file=sys.stderr)
    return 0


def as_values(row: RunRow) -> dict[str, Any]:
    """Return a run as values for JSON; null for what is not known."""
    values = asdict(row)
    del values["key"]
    return {"job": row.key.job, "host": row.key.host, **values}


def _lines_of(rows: Sequence[RunRow]) -> list[str]:
    if not rows:
        return []
    names = ["job", *COLUMNS, "host"]
    lines = [names] + [[row.key.job, *(cell(row, name) for name in COLUMNS), cell(row, "host")] for row in rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    is_right = [name in COLUMNS and COLUMNS[name][1] for name in names]
    return [
        "  ".join(
            f"{text:>{width}}" if right else f"{text:<{width}}"
            for text, width, right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        for line in lines
    ]


def diff(ctx: typer.Context, runs: RunsArgument, as_json: JsonOption = False) -> int:
    """Show trainings side by side: how they ended, and only the settings that differ.

    Settings include what the preset and the defaults say, so that two presets can be compared.

    \b
    Examples:
      t2v runs diff 3f2a 9c01
      t2v runs diff baseline 3f2a 9c01 --json
    """
    common: Common = ctx.obj
    if len(runs) < 2:
        raise InvalidRequest("a comparison takes at least two trainings", "t2v runs diff RUN RUN")
    read = read_runs(find_workspace(common.workspace, os.environ), runs)
    unknown = [one.row.key for one in read if not one.settings]
    differences = differing([one.settings for one in read]) if not unknown else []
    if as_json or common.as_json:
        settings = {
            name: dict(zip((one.row.key.job for one in read), values, strict=True)) for name, values in differences
        }
        said = {"runs": [as_values(one.row) for one in read], "settings": settings if not unknown else None}
        print(json.dumps(said, ensure_ascii=False))
    else:
        for line in table_lines(comparison([one.row for one in read], differences)):
            print(line)
    for key in unknown:
        print(f"the settings of {key.job} are not here: the terminal UI asks {key.host} for them", file=sys.stderr)
    return 0


ToOption = Annotated[
    Path, typer.Option("--to", metavar="FILE", help="File to write; its suffix sets the format: .svg, .png or .csv.")
]
FigureOption = Annotated[
    str, typer.Option("--figure", metavar="NAME", help="loss, held_out_loss, learning_rate, grad_norm, …")
]
OverOption = Annotated[Axis, typer.Option("--over", help="What the x axis shows.")]
SmoothOption = Annotated[
    float,
    typer.Option(
        "--smooth",
        metavar="SHARE",
        min=0,
        max=0.9999,
        help="How much of the average so far each point keeps; 0 averages nothing.",
    ),
]
LogOption = Annotated[bool, typer.Option("--log", help="Logarithmic y axis.")]


def chart(
    ctx: typer.Context,
    runs: RunsArgument,
    to: ToOption,
    figure: FigureOption = "loss",
    over: OverOption = Axis.STEP,
    smooth: SmoothOption = 0.98,
    is_log: LogOption = False,
) -> int:
    """Plot one metric of one or more trainings into a file, a line for each.

    A CSV holds what is drawn, with the lowest and highest value that each point stands for.

    \b
    Examples:
      t2v runs chart 3f2a 9c01 --to loss.svg
      t2v runs chart 3f2a --figure grad_norm --over hours --to norm.png
      t2v runs chart 3f2a --smooth 0 --to loss.csv
    """
    common: Common = ctx.obj
    from t2v_tui.widgets.curve.chart_file import Curve, write_chart  # with no widget in it

    workspace = find_workspace(common.workspace, os.environ)
    read = read_runs(workspace, runs)
    curves = []
    for one in read:
        line = one.measured.lines.get(figure)
        if line is None:
            held = ", ".join(sorted({name for other in read for name in other.measured.lines})) or "nothing yet"
            raise InvalidRequest(f"{one.row.key.job} has no '{figure}'", f"the events here hold: {held}")
        xs = xs_of(line, one.measured, over, sessions_of(workspace, one.row.key.host))
        if xs is not None:
            curves.append(Curve(one.row.title, trace_of(line, xs, None, DOTS, smooth)))
    write_chart(expanded(to), figure, over, curves, is_log=is_log)
    print(to)
    return 0


def name(
    ctx: typer.Context, run: RunArgument, text: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
) -> int:
    """Give a training a name, which works in place of its id from then on; '' removes it.

    \b
    Example:
      t2v runs name 3f2a baseline
    """
    return _keep(ctx.obj, run, name=text)


def note(
    ctx: typer.Context, run: RunArgument, text: Annotated[str, typer.Argument(metavar="TEXT", show_default=False)]
) -> int:
    """Add a note to a training; '' removes it.

    \b
    Example:
      t2v runs note 3f2a "twice the batch, same data"
    """
    return _keep(ctx.obj, run, note=text)


def _keep(common: Common, run: str, **said: str) -> int:
    workspace = find_workspace(common.workspace, os.environ)
    with HostPool(workspace) as hosts:
        listed = [JobKey(one.host, one.row.job) for one in KnownJobs(hosts).at_hand() if one.row.verb == "train"]
    labels = {key: label_of(workspace, key) for key in listed}
    key = _find(workspace, run, labels)
    wanted = said.get("name")
    if wanted and any(label.name == wanted for other, label in labels.items() if other != key):
        raise InvalidRequest(f"another training is called '{wanted}'", "choose another name, or rename that one")
    before = labels[key]
    keep_label(workspace, key, Label(said.get("name", before.name), said.get("note", before.note)))
    print(f"saved for {key.job}", file=sys.stderr)
    return 0
