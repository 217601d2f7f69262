"""`t2v jobs`, `logs`, `attach`, `ask`, `stop`: what runs and ran, here and on other machines."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from remote.errors import UNREACHABLE, HostUnreachable
from remote.jobs.client import STOP_GRACE_S, HostJobs
from remote.jobs.follow import Follower, LinkState, LogChunk, fetch_log
from remote.jobs.host_pool import HostPool
from remote.jobs.spool import LOG, Spool
from remote.replies.job_row import JobRow
from remote.replies.jobs import Stopped
from t2v_core.errors import InvalidRequest
from t2v_core.format import date_time
from t2v_tui.cli.engine.on_host import LinkWords, how_to_come_back, watch
from t2v_tui.cli.jobs.table import as_json_rows, table
from t2v_tui.cli.main import Common
from t2v_tui.cli.narrate import narrator
from t2v_tui.cli.which_job import KnownJobs, find_job
from t2v_tui.find_workspace import find_workspace

JobArgument = Annotated[
    str | None, typer.Argument(metavar="[JOB]", help="Its id, or any part that is unique to it.", show_default=False)
]
HostOption = Annotated[
    str | None,
    typer.Option("--host", metavar="NAME", help="Only this host; 'local' is this machine.", show_default=False),
]
WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", metavar="DIR", help="Workspace to use.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result to stdout as JSON.")]


def jobs(
    ctx: typer.Context,
    host: HostOption = None,
    is_all: Annotated[bool, typer.Option("--all", help="Ask every host of t2v.toml now.")] = False,
    workspace_: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> int:
    """List this machine's jobs and those remembered from other hosts, oldest first.

    A job's state comes from its own files, so jobs of another terminal, another person or another day are listed too.

    \b
    Examples:
      t2v jobs
      t2v jobs --host a100-golden
      t2v jobs --all --json

    The table goes to stdout. Exit code 3 when a host that was asked cannot be reached; what is remembered is shown.
    """
    common: Common = ctx.obj
    with HostPool(find_workspace(workspace_ or common.workspace, os.environ)) as hosts:
        known, asked = KnownJobs(hosts), [host] if host else hosts.names if is_all else []
        listed = known.all_asked(asked) if asked else known.at_hand()
        unreachable = known.unreachable
    if as_json or common.as_json:
        print(json.dumps(as_json_rows(listed, unreachable), ensure_ascii=False))
    else:
        for line in table(listed, now_t=time.time(), is_terminal=sys.stdout.isatty()):
            print(line)
        if not listed:
            print("no jobs yet", file=sys.stderr)
    for name, error in unreachable.items():
        what = "is unreachable" if isinstance(error, HostUnreachable) else "cannot be asked"
        print(f"{name} {what}: {error.message}; its jobs are shown as they were last known", file=sys.stderr)
        if error.hint:
            print(f"hint:  {error.hint}", file=sys.stderr)
    return UNREACHABLE if unreachable else 0


def attach(
    ctx: typer.Context,
    job: JobArgument = None,
    host: HostOption = None,
    workspace_: WorkspaceOption = None,
    is_verbose: Annotated[bool, typer.Option("--verbose", help="Show the engine's log as well.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Watch a job to its end, with all it has said so far; without JOB, the newest that has not ended.

    Ctrl-C leaves it running. A lost connection is restored as soon as possible, and nothing is missed.

    \b
    Examples:
      t2v attach
      t2v attach 3f2a
      t2v attach 20261122-181501-train-3f2a --host a100-golden

    The exit code is the job's own; 3 when its host cannot be reached, 130 when you leave.
    """
    common: Common = ctx.obj
    teller = narrator()
    with HostPool(find_workspace(workspace_ or common.workspace, os.environ)) as hosts:
        found = find_job(job, host, hosts, is_alive_first=True)
        there = hosts.jobs(found.host)
        teller.say(f"job {found.row.job} on {found.host}; Ctrl-C leaves it running", "dim")
        row = found.row if found.seen_t is None else there.row(found.row.job)
        return watch(there, row, teller, as_json=as_json or common.as_json, is_verbose=is_verbose)


class Request(StrEnum):
    """What a job can be asked for."""

    SAVE = "save"
    PAUSE = "pause"
    RESUME = "resume"
    BESIDE = "beside"


def ask(
    ctx: typer.Context,
    request: Annotated[Request, typer.Argument(metavar="save|pause|resume|beside", show_default=False)],
    job: JobArgument = None,
    is_sure: Annotated[
        bool, typer.Option("--anyway", help="beside: also where the memory is not enough, or nobody can tell.")
    ] = False,
    host: HostOption = None,
    workspace_: WorkspaceOption = None,
) -> int:
    """Ask a job for something, which it does within a step: save a checkpoint, pause, resume, or begin beside others.

    beside is for a video that waits for its turn: it begins at once, if an estimate there says that the memory
    suffices.

    \b
    Examples:
      t2v ask save
      t2v ask pause 3f2a
      t2v ask beside 9c01 --host a100-golden

    Without JOB: the newest that has not ended. Returns once the job was asked, not when it has done so.
    """
    common: Common = ctx.obj
    with HostPool(find_workspace(workspace_ or common.workspace, os.environ)) as hosts:
        found = find_job(job, host, hosts, is_alive_first=True)
        there = hosts.jobs(found.host)
        if request is Request.BESIDE and not is_sure:
            _require_room(there, found.row)
        there.request(found.row.job, request.value)
    print(f"{found.row.job} on {found.host} was asked to {DOES[request]}", file=sys.stderr)
    return 0


def _require_room(there: HostJobs, row: JobRow) -> None:
    """Raises InvalidRequest where the estimate says that the memory is not enough, or there is none."""
    from remote.launch.beside import reckon  # with pydantic and more, which the other requests do without
    from t2v_tui.text.waiting import beside, free_of

    if row.state != "queued":
        raise InvalidRequest(f"{row.job} waits for no turn: it is {row.state}", "t2v jobs lists what waits")
    print(f"reckoning on {there.host.name} what {row.job} takes …", file=sys.stderr)
    found = reckon(there, row.job)
    verdict = beside(free_of(found.machine), found.least, found.why)
    if not verdict.fits:
        raise InvalidRequest(f"{row.job} was not begun: {verdict.words}", "all the same: --anyway")
    print(verdict.words, file=sys.stderr)


DOES = {
    Request.SAVE: "save a checkpoint", Request.PAUSE: "pause", Request.RESUME: "resume",
    Request.BESIDE: "begin beside what runs there",
}  # fmt: skip


def stop(
    ctx: typer.Context,
    job: JobArgument = None,
    host: HostOption = None,
    grace_s: Annotated[
        float,
        typer.Option(
            "--grace-s", metavar="S", min=0, help="How long to wait for it to end by itself before it is killed."
        ),
    ] = STOP_GRACE_S,
    is_anyones: Annotated[
        bool,
        typer.Option(
            "--anyones", help="Also stop a job that another workspace started in the same folder on the host."
        ),
    ] = False,
    workspace_: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> int:
    """Stop a job: it is asked first, so that training saves a checkpoint; then it is killed, with all its processes.

    \b
    Examples:
      t2v stop
      t2v stop 3f2a
      t2v stop 3f2a --grace-s 5

    Without JOB: the newest that has not ended. Exit code 0 when nothing of it is left, 1 otherwise.
    """
    common: Common = ctx.obj
    with HostPool(find_workspace(workspace_ or common.workspace, os.environ)) as hosts:
        found = find_job(job, host, hosts, is_alive_first=True)
        there = hosts.jobs(found.host)
        print(f"stopping {found.row.job} on {found.host}, for up to {grace_s:g} s …", file=sys.stderr)
        ended = there.stop(found.row.job, grace_s=grace_s, is_anyones=is_anyones)
        reason = there.row(found.row.job).reason
    if as_json or common.as_json:
        said = {"job": found.row.job, "host": found.host, "state": ended.state, "how": ended.how, "reason": reason}
        print(json.dumps(said | {"left": list(ended.left), "gpu_left": [vars(one) for one in ended.gpu_left]}))
    return _told_ended(found.row.job, ended, reason)


def _told_ended(job: str, ended: Stopped, reason: str) -> int:
    """Say on stderr how a job ended, and what is left of it; returns the exit code."""
    how = "it had ended before" if ended.how == "had ended" else f"by {ended.how}"
    print(f"{job}: {ended.state}, {how}" + (f": {reason}" if reason else ""), file=sys.stderr)
    if ended.left or ended.gpu_left:
        numbers = sorted({*ended.left, *(one.pid for one in ended.gpu_left)})
        print(f"error: some of its processes are left: {', '.join(map(str, numbers))}", file=sys.stderr)
        return 1
    return 0


def logs(
    ctx: typer.Context,
    job: JobArgument = None,
    is_followed: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep following until the job has ended.")
    ] = False,
    since: Annotated[int, typer.Option("--since", metavar="BYTE", min=0, help="Start at this byte of the log.")] = 0,
    host: HostOption = None,
    workspace_: WorkspaceOption = None,
) -> int:
    """Show a job's log, byte for byte; without JOB, the newest job's.

    On a terminal, progress lines that were drawn over are shown in their last state. What has arrived is kept here and
    can be read with the host switched off.

    \b
    Examples:
      t2v logs
      t2v logs 3f2a -f
      t2v logs 3f2a --since 120000 > rest.txt

    The log goes to stdout. Exit code 3 when the host cannot be reached: then it is what arrived before.
    """
    common: Common = ctx.obj
    with HostPool(find_workspace(workspace_ or common.workspace, os.environ)) as hosts:
        found = find_job(job, host, hosts)
        spool = Spool.of(hosts.workspace, found.host, found.row.job)
        out = Out()
        try:
            return _logs(hosts.jobs(found.host), found.row.job, spool, out, since=since, is_followed=is_followed)
        except BrokenPipeError:  # whoever read has seen enough
            out.abandon()
            return 0
        finally:
            out.end()


def _logs(there: HostJobs, job: str, spool: Spool, out: Out, *, since: int, is_followed: bool) -> int:
    if spool.is_whole:
        for _, data in spool.read(LOG, since, spool.size(LOG)):
            out.write(data)
        return 0
    shown = since
    try:
        row = there.row(job)
        pieces = (
            _live(there, job, spool, since)
            if is_followed
            else fetch_log(there.host, job, spool, row.log_bytes, since=since)
        )
        for chunk in pieces:
            out.write(chunk.data)
            shown = chunk.offset + len(chunk.data)
    except HostUnreachable as error:
        for _, data in spool.read(LOG, shown, spool.size(LOG)):
            out.write(data)
        out.end()
        known = spool.known()
        when = f" by {date_time(known.seen_t)}" if known else ""
        print(f"{there.host.name} is unreachable: {error.message}; this is what came{when}", file=sys.stderr)
        return UNREACHABLE
    except KeyboardInterrupt:
        out.end()
        print(how_to_come_back(job), file=sys.stderr)
        return 130
    return 0


def _live(there: HostJobs, job: str, spool: Spool, since: int) -> Iterator[LogChunk]:
    words = LinkWords(there.host.name)
    for said in Follower(there.host, job, spool, since=since):
        if isinstance(said, LogChunk):
            yield said
        elif isinstance(said, LinkState) and (sentence := words.of(said)):
            print(sentence, file=sys.stderr)


class Out:
    """stdout for bytes of a log: as they are, or on a terminal without what was drawn over with \\r."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._torn = b""

    def write(self, data: bytes) -> None:
        """Write bytes of the log at once."""
        if self._is_terminal:
            data = self._collapsed(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _collapsed(self, data: bytes) -> bytes:
        """Whole lines as they stood last; of the line that is still being drawn, its newest state over the old."""
        drawn_over = b"\r\x1b[K" if self._torn else b""
        *whole, self._torn = (self._torn + data).split(b"\n")
        lines = b"".join(_last_state(line) + b"\n" for line in whole)
        return drawn_over + lines + _last_state(self._torn)

    def end(self) -> None:
        """End a line that is still open, so that a terminal's prompt begins on its own."""
        if self._torn:
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()
            self._torn = b""

    def abandon(self) -> None:
        """Let stdout lead nowhere: whoever read it has gone."""
        self._torn = b""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _last_state(line: bytes) -> bytes:
    return line.rstrip(b"\r").rpartition(b"\r")[2]
