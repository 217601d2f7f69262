"""`t2v report`: a training, or several side by side, as one HTML file."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from t2v_core.disk.files import describe_os_error, staged_file
from t2v_core.errors import InvalidRequest
from t2v_core.format import counted, size
from t2v_core.workspace import Workspace, expanded
from t2v_tui.cli.main import Common
from t2v_tui.cli.runs import JsonOption, RunsArgument, read_runs
from t2v_tui.find_workspace import find_workspace

SUFFIXES = (".html", ".htm")
MOST_RUNS = 4
TO_HELP = "File to write, .html. [default: outputs/reports/, named after the runs]"
ToOption = Annotated[Path | None, typer.Option("--to", metavar="FILE", help=TO_HELP, show_default=False)]
VideoOption = Annotated[
    float, typer.Option("--video-mb", metavar="MB", min=0, max=500, help="Most megabytes of videos in the file.")
]


def report(
    ctx: typer.Context,
    runs: RunsArgument,
    to: ToOption = None,
    video_mb: VideoOption = 20.0,
    as_json: JsonOption = False,
) -> int:
    """Write one HTML file about a training, or up to four side by side, that opens anywhere, without a network.

    It has curves, samples through training as videos, scores with their floors and ceilings, settings (of several
    runs, those that differ first), the data report, cost and machine. Of a run on a host it shows what is here: its
    events as far as they came, and the samples that were pulled.

    \b
    Examples:
      t2v report baseline
      t2v report baseline wider --to comparison.html
      t2v report baseline --video-mb 5
    """
    common: Common = ctx.obj
    from t2v_tui.report.contents import gathered
    from t2v_tui.report.page import page_of

    workspace = find_workspace(common.workspace, os.environ)
    read = read_runs(workspace, runs)
    if len(read) > MOST_RUNS:
        raise InvalidRequest(f"{len(read)} trainings do not fit beside each other", f"name at most {MOST_RUNS}")
    path = _target(workspace, to, [one.row.key.job for one in read])
    share = int(video_mb * 1e6 / len(read))
    found = [
        gathered(
            workspace, one.row, one.measured, settings=one.settings, asked=one.asked, scored=one.scored,
            most_video_bytes=share,
        )
        for one in read
    ]  # fmt: skip
    _write(path, page_of(found, time.time()))
    shown = workspace.relative(path.absolute()) if to is None else to
    videos = sum(one.samples.shown for one in found)
    if as_json or common.as_json:
        said = {
            "report": str(shown), "bytes": path.stat().st_size, "videos": videos,
            "videos_left_out": sum(one.samples.told for one in found) - videos,
        }  # fmt: skip
        print(json.dumps(said, ensure_ascii=False))
    else:
        print(shown)
        print(f"{size(path.stat().st_size)}, {counted(videos, 'video')}", file=sys.stderr)
    return 0


def _target(workspace: Workspace, to: Path | None, jobs: Sequence[str]) -> Path:
    """Where the file goes. Raises InvalidRequest for another suffix, and rather than write over what is no report."""
    from t2v_tui.report.page import MARK

    if to is not None:
        path = expanded(to)
        if path.suffix.lower() not in SUFFIXES:
            raise InvalidRequest(f"'{to}' is not a name for a report", "end it in .html")
        return path
    path = workspace.outputs / "reports" / f"{'-and-'.join(jobs)}.html"
    if path.exists() and not _begins_with(path, MARK):
        raise InvalidRequest(f"{workspace.relative(path)} exists, and is not a report", "name another file: --to FILE")
    return path


def _begins_with(path: Path, mark: str) -> bool:
    try:
        with path.open("rb") as file:
            return mark.encode() in file.read(200)
    except OSError:
        return False


def _write(path: Path, page: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(path) as staged:
            staged.write_text(page, encoding="utf-8")
    except OSError as error:
        raise describe_os_error(error, path) from error
