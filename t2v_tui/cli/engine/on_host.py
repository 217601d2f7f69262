"""One verb as a job on a host: submitted, then watched as a run here is; whoever watches may leave and come back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

from remote.errors import CannotStart
from remote.hosts.settings import LOCAL
from remote.jobs.client import HostJobs, RemoteJob
from remote.jobs.follow import Follower, LinkState, LogChunk
from remote.jobs.foreground import Exit
from remote.jobs.host_pool import HostPool
from remote.jobs.spool import Spool
from remote.launch.launch import Launch
from remote.replies.job_row import JobRow
from remote.steps import Status
from t2v_core.events import Event
from t2v_core.events.estimated import Estimated
from t2v_core.format import duration
from t2v_core.settings import values_for
from t2v_core.specs import Spec, make_spec
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.run import INTERRUPTED, Followed, Tell, command_to_go_on, show, tell_failure, tell_result
from t2v_tui.cli.narrate import Narrator, narrator
from t2v_tui.cli.vm.forecast import Beforehand, Forecast, cost_of_run
from t2v_tui.cli.vm.left import told_if_left
from t2v_tui.cli.which_job import find_job
from t2v_tui.text.job_words import progress_of, what_it_waits_for


def run_there(
    verb: str,
    flags: Mapping[str, Any],
    host: str,
    *,
    workspace: Workspace,
    flag_names: Mapping[str, str],
    after: str | None,
    is_detached: bool,
    as_json: bool,
    is_verbose: bool,
    tell: Tell | None = None,
    named: str | None = None,
    teller: Narrator | None = None,
) -> int:
    """Start one verb as a job on a host; then leave it, or follow it to its end and return its own code."""
    spec = make_spec(verb, values_for(verb, workspace, os.environ, flags, flag_names=flag_names, named=named))
    teller = teller or narrator()
    with HostPool(workspace) as hosts:
        jobs = hosts.jobs(host)
        for path in only_here(flags, jobs):
            teller.say(f"note: {path} means {scp_path(path, jobs)}; nothing is copied there", "yellow")
        first = find_job(after, host, hosts).row.job if after else None
        job = _submitted(jobs, verb, spec, first, teller)
        if not job.is_new:
            teller.say(f"already submitted, but the reply was lost: it is job {job.job}", "yellow")
        if is_detached:
            teller.say(how_to_come_back(job.job))
            print(job.job)
            return 0
        teller.say(f"job {job.job} on {host}; Ctrl-C leaves it running", "dim")
        go_on = sys.argv[1:]
        return watch(jobs, jobs.row(job.job), teller, as_json=as_json, is_verbose=is_verbose, tell=tell, go_on=go_on)


def _submitted(jobs: HostJobs, verb: str, spec: Spec, after: str | None, teller: Narrator) -> RemoteJob:
    """A VM is started, a host made ready, and the job submitted; told is what takes time or is worth a word."""
    launch = Launch(jobs.host, jobs.workspace, verb, spec, after=after, jobs=jobs)
    told, beforehand = None, Beforehand(jobs.host, jobs.workspace)
    with told_if_left(jobs.host, jobs.workspace, teller), closing(beforehand):
        for state in launch:
            if sentence := beforehand.after(state, spec):
                teller.say(f"  estimate: {sentence}", "dim")
            if state != told and state.status in (Status.DOING, Status.DONE, Status.NOTE) and state.name != "launch":
                teller.say(f"  {state.name}: {state.detail}", "yellow" if state.status is Status.NOTE else "dim")
                if state.status is Status.NOTE and state.hint:
                    teller.say(f"    {state.hint}", "yellow")
                told = state
    if launch.job is None:
        raise CannotStart(f"{verb} was not started on {jobs.host.name}", "ask again")
    return launch.job


def only_here(flags: Mapping[str, Any], jobs: HostJobs) -> list[str]:
    """Return paths that were typed, are relative, and name a file here: whoever typed them may mean that one."""
    if jobs.host.name == LOCAL:
        return []
    texts = [value for value in flags.values() if isinstance(value, str) and 0 < len(value) < 1000]
    return [text for text in texts if "\0" not in text and Path(text).is_file()]


def scp_path(path: str, jobs: HostJobs) -> str:
    """Return a path on a host as scp would take it."""
    if jobs.host.name == LOCAL:
        return path
    return f"{jobs.host.name}:{PurePosixPath(jobs.host.workdir) / path}"


def how_to_come_back(job: str) -> str:
    """Return two lines: the command that watches the job, and the one that ends it."""
    return f"watch it:  t2v attach {job}\nend it:    t2v stop {job}"


def watch(
    jobs: HostJobs,
    row: JobRow,
    teller: Narrator,
    *,
    as_json: bool,
    is_verbose: bool,
    tell: Tell | None = None,
    go_on: list[str] | None = None,
) -> int:
    """Follow a job to its end, tell how it ended, and return its own exit code; 130 when somebody leaves before.

    go_on: what was typed to start it, for the line that goes on after a stop
    """
    followed = Followed(f"t2v logs {row.job}")
    if jobs.host.name != LOCAL:
        followed.host_words = lambda path: scp_path(path, jobs)
    try:
        _follow(jobs, row, followed, teller, is_verbose=is_verbose)
    except KeyboardInterrupt:
        teller.close()
        teller.say(f"left: the job keeps running on {jobs.host.name}\n{how_to_come_back(row.job)}")
        return INTERRUPTED
    finally:
        teller.close()
    if followed.exit.code:
        tell_failure(followed, teller, command_to_go_on(row.verb, go_on, followed.checkpoints) if go_on else "")
    elif followed.result is None:
        teller.say("done", "green")
    else:
        (tell or tell_result)(followed, jobs.workspace, teller, as_json=as_json)
        estimate = Estimated.of(followed.result.extra)
        if estimate is not None and (cost := cost_of_run(jobs.host, jobs.workspace, estimate.total_s)):
            teller.say(cost)
    return followed.exit.code


def _follow(jobs: HostJobs, row: JobRow, followed: Followed, teller: Narrator, *, is_verbose: bool) -> None:
    if row.state == "queued" and (waits := what_it_waits_for(row)):
        teller.say(f"queued: {waits}", "dim")
    link, tail, forecast = LinkWords(jobs.host.name), EventLines(), Forecast(jobs.host, jobs.workspace)
    follower = Follower(jobs.host, row.job, Spool.of(jobs.workspace, jobs.host.name, row.job))
    try:
        for said in follower:
            match said:
                case Event():
                    show(said, followed, teller)
                    if sentence := forecast.of(said):
                        teller.say(sentence)
                case LogChunk() if is_verbose:
                    for line in tail.of(said.data):
                        teller.log(line)
                case LinkState():
                    if sentence := link.of(said):
                        teller.say(sentence, "yellow")
                case JobRow():
                    followed.ended = Exit(
                        said.exit_code, said.signal, said.reason, said.hint, said.ended_t or time.time()
                    )
    finally:
        follower.close()


class LinkWords:
    """What there is to say about a link: nothing as long as it holds."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._lost: LinkState | None = None

    def of(self, state: LinkState) -> str:
        """Return a sentence when the link was lost or is back; nothing as long as it holds."""
        if not state.is_up:
            self._lost = state
            last = f"; last known: {state.last.state}{_after_comma(progress_of(state.last))}" if state.last else ""
            return f"link:  {state.why}{last}; reconnecting to {self._host}"
        if self._lost is None:
            return ""
        gone_s, self._lost = state.since - self._lost.since, None
        return f"link:  {self._host} is back after {duration(gone_s)}"


def _after_comma(text: str) -> str:
    return f", {text}" if text else ""


class EventLines:
    """Whole lines of a log that comes in pieces; of a line that was drawn over with \\r, what stood there last."""

    def __init__(self) -> None:
        self._torn = b""

    def of(self, data: bytes) -> list[str]:
        """Return the lines that are whole by now; the torn end waits for the next piece."""
        *whole, self._torn = (self._torn + data).split(b"\n")
        return [line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace") for line in whole]
