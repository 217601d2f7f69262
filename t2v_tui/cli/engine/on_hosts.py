"""One training on several hosts, led by a job of this machine: watched from here, or left to itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from remote.gang.leader import GangRequest
from remote.gang.ready import hosts_in
from remote.hosts.settings import LOCAL
from remote.jobs.foreground import JobHandle, create, run_here
from remote.jobs.host_pool import HostPool
from t2v_core.errors import InvalidRequest
from t2v_core.settings import values_for
from t2v_core.specs import make_spec
from t2v_core.workspace import Workspace
from t2v_tui.cli.engine.on_host import how_to_come_back, only_here, scp_path
from t2v_tui.cli.engine.run import command_to_go_on, follow, tell_failure, tell_result
from t2v_tui.cli.narrate import narrator


def run_on_hosts(
    flags: Mapping[str, Any],
    hosts: str,
    fewest: int | None,
    *,
    workspace: Workspace,
    flag_names: Mapping[str, str],
    is_detached: bool,
    as_json: bool,
    is_verbose: bool,
    named: str | None = None,
) -> int:
    """Train on several hosts together; follow it to its end and return its exit code, or leave it with its leader."""
    names = hosts_in(hosts, workspace)
    request = GangRequest(names, len(names) if fewest is None else fewest)
    spec = make_spec("train", values_for("train", workspace, os.environ, flags, flag_names=flag_names, named=named))
    teller = narrator()
    with HostPool(workspace) as pool:
        for path in only_here(flags, pool.jobs(names[0])):
            teller.say(f"note: {path} means a file of each host; nothing is copied there", "yellow")
        if is_detached:
            job = pool.jobs(LOCAL).submit("train", spec, engine=leader_argv(request))
            teller.say(how_to_come_back(job.job))
            print(job.job)
            return 0
    handle = create(workspace, "train", spec)
    teller.say(f"job {handle.directory.name} on {', '.join(names)}; Ctrl-C stops it, with a checkpoint", "dim")
    return _watched(request, handle, workspace, as_json=as_json, is_verbose=is_verbose)


def leader_argv(request: GangRequest) -> list[str]:
    """Return the program that leads a job of these hosts, as far as `-m t2v_core VERB JOBDIR` comes behind it."""
    return [sys.executable, "-m", "remote.gang", ",".join(request.hosts), str(request.fewest)]


def _watched(request: GangRequest, handle: JobHandle, workspace: Workspace, *, as_json: bool, is_verbose: bool) -> int:
    teller = narrator()
    run = run_here(handle, argv=[*leader_argv(request), "-m", "t2v_core", "train", str(handle.directory)])
    followed = follow(run, teller, is_verbose=is_verbose)
    with HostPool(workspace) as pool:
        first = pool.jobs(request.hosts[0])
        followed.host_words = lambda path: scp_path(path, first)
        if followed.exit.code:
            tell_failure(followed, teller, command_to_go_on("train", sys.argv[1:], followed.checkpoints))
        elif followed.result is not None:
            tell_result(followed, workspace, teller, as_json=as_json)
    return followed.exit.code


def require_alone(host: str | None, after: str | None) -> None:
    """Raise InvalidRequest for what does not go with several hosts."""
    if host is not None:
        raise InvalidRequest("--host and --hosts do not go together", "--host a for one host, --hosts a,b for several")
    if after is not None:
        raise InvalidRequest("--after does not go with --hosts", "start it when that job has ended")
