"""`t2v watch`: the events of a job as they come, one per line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer

from remote.jobs.client import HostJobs
from remote.jobs.follow import Follower, LinkState
from remote.jobs.host_pool import HostPool
from remote.jobs.spool import Spool
from remote.replies.job_row import JobRow
from t2v_core.disk.plain_text import for_terminal
from t2v_core.errors import InvalidRequest
from t2v_core.events import Event
from t2v_core.events.fields import Json
from t2v_core.events.kinds import KINDS
from t2v_tui.cli.jobs.commands import HostOption, JobArgument, WorkspaceOption
from t2v_tui.cli.main import Common
from t2v_tui.cli.which_job import find_job
from t2v_tui.find_workspace import find_workspace
from t2v_tui.text.event_log import line_of
from t2v_tui.text.job_words import JOB_GLYPHS

# Log bytes from behind this one are not sent: nobody asked for them.
NO_LOG = 2**62
END, LINK = "end", "link"


def watch(
    ctx: typer.Context,
    job: JobArgument = None,
    host: HostOption = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="KINDS", help="Only these kinds, such as alarm,checkpoint,end.", show_default=False
        ),
    ] = None,
    workspace_: WorkspaceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write each event as a JSON object on a line.")] = False,
) -> int:
    """Write a job's events as they come, one per line, from the first; without JOB, of the newest that has not ended.

    With --json each line has t (Unix time), kind and the fields of its kind. Beside the engine's kinds there are `link`
    (is_up, why), when the host is lost or back, and `end` (state, code, reason), which is the last line.

    \b
    Examples:
      t2v watch
      t2v watch 3f2a --json
      t2v watch --json --only alarm,end

    The lines go to stdout. The exit code is the job's own; 3 when its host cannot be reached, 130 when you leave.
    """
    common: Common = ctx.obj
    kinds = _kinds(only)
    with HostPool(find_workspace(workspace_ or common.workspace, os.environ)) as hosts:
        found = find_job(job, host, hosts, is_alive_first=True)
        there = hosts.jobs(found.host)
        code = 0
        for said in _heard(there, found.row.job):
            if isinstance(said, JobRow):
                code = said.exit_code
            if not kinds or _table_of_news(said)["kind"] in kinds:
                print(_as_json(said) if as_json or common.as_json else _as_text(said), flush=True)
    return code


def _kinds(only: str | None) -> frozenset[str]:
    kinds = frozenset(filter(None, (only or "").replace(" ", "").split(",")))
    if unknown := sorted(kinds - {*KINDS, END, LINK}):
        raise InvalidRequest(f"--only: there is no kind {unknown[0]}", f"there are: {', '.join([*KINDS, LINK, END])}")
    return kinds


def _heard(there: HostJobs, job: str) -> Iterator[Event | LinkState | JobRow]:
    """What a job says and what its link does; the first word of a link that holds is none."""
    is_up = True
    with closing(Follower(there.host, job, Spool.of(there.workspace, there.host.name, job), since=NO_LOG)) as follower:
        for said in follower:
            if isinstance(said, LinkState):
                was_up, is_up = is_up, said.is_up
                if was_up == is_up:
                    continue
            if isinstance(said, Event | LinkState | JobRow):
                yield said


def _table_of_news(said: Event | LinkState | JobRow) -> dict[str, Json]:
    match said:
        case Event():
            return said.to_table()
        case LinkState(is_up, since, why):
            return {"t": since, "kind": LINK, "is_up": is_up, "why": why}
    return {
        "t": said.ended_t, "kind": END, "job": said.job, "state": said.state, "code": said.exit_code,
        "reason": said.reason, "hint": said.hint,
    }  # fmt: skip


def _as_json(said: Event | LinkState | JobRow) -> str:
    return said.to_line().decode().rstrip("\n") if isinstance(said, Event) else json.dumps(_table_of_news(said))


def _as_text(said: Event | LinkState | JobRow) -> str:
    match said:
        case Event():
            return for_terminal(line_of(said))
        case LinkState(is_up=True):
            return "the link is back"
        case LinkState(why=why):
            return for_terminal(f"the link is lost: {why}")
    return for_terminal(" ".join(filter(None, (JOB_GLYPHS.get(said.state, " "), said.state, said.reason))))
