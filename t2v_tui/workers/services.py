"""What the app can ask of hosts and files. Every method blocks and raises EngineError: only workers call them.

Nothing of `remote` that is slow to import is imported before the first call.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remote.jobs.host_pool import HostPool
from remote.steps import StepState
from t2v_core.workspace import Workspace
from t2v_tui.store.state import LOCAL, HostKind, HostView, JobKey, JobView, VmView

if TYPE_CHECKING:
    from remote.jobs.client import RemoteJob
    from remote.replies.job_row import JobRow
    from remote.replies.jobs import Stopped
    from t2v_core.specs import Spec
    from t2v_tui.workers.providers import Provider


@dataclass(frozen=True)
class Answer:
    """The jobs of a host and how long the question took."""

    rows: tuple[JobRow, ...]
    latency_s: float


class Services(HostPool):
    """The hosts of one workspace, with what the app asks of them beyond their jobs."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._providers: dict[str, Provider] = {}

    def hosts(self) -> tuple[HostView, ...]:
        """Return this machine, and those of t2v.toml. Raises InvalidRequest when that is wrong."""
        from remote.hosts.settings import read_hosts

        views = [self.here()]
        for name, one in read_hosts(self.workspace).items():
            asked = "command" if one.status_command else "the API"
            view = VmView(zone=one.zone or "", asked=asked) if one.is_switched else None
            kind = HostKind.SSH if view is None else HostKind.VM
            views.append(HostView(name, kind, one.address or name, one.workdir, vm=view))
        return tuple(views)

    def here(self) -> HostView:
        """Return this machine, which is there whatever t2v.toml says."""
        return HostView(LOCAL, HostKind.LOCAL, "this machine", str(self.workspace.root))

    def rows(self, name: str) -> Answer:
        """Ask a host for its jobs. Raises HostUnreachable."""
        jobs = self.jobs(name)
        began = time.monotonic()
        rows = tuple(jobs.rows())
        return Answer(rows, time.monotonic() - began)

    def remembered(self) -> tuple[JobView, ...]:
        """Return the jobs of every host as it said last: the spool can be read with all of them off."""
        from remote.jobs.spool import known_hosts, known_rows

        return tuple(
            JobView(JobKey(host, known.row.job), known.row, known.seen_t)
            for host in known_hosts(self.workspace)
            for known in known_rows(self.workspace, host, with_parts=False)
        )

    def spec(self, verb: str, values: Mapping[str, Any]) -> Spec:
        """Make a spec of what was chosen, over what t2v.toml says. Raises InvalidRequest."""
        import os

        from t2v_core.settings import values_for
        from t2v_core.specs import make_spec

        return make_spec(verb, values_for(verb, self.workspace, os.environ, values))

    def submit(self, name: str, verb: str, spec: Spec, **options: Any) -> RemoteJob:
        """Start a job that goes on without us."""
        return self.jobs(name).submit(verb, spec, **options)

    def stop(self, job: JobKey, *, grace_s: float | None = None) -> Stopped:
        """End a job and all its processes; takes as long as its last checkpoint, unless there is no grace."""
        jobs = self.jobs(job.host)
        return jobs.stop(job.job) if grace_s is None else jobs.stop(job.job, grace_s=grace_s)

    def request(self, job: JobKey, what: str) -> None:
        """Ask for something that is done within a step. what: save, pause, resume; beside: wait for no turn"""
        self.jobs(job.host).request(job.job, what)

    def tail_of(self, job: JobKey, lines: int) -> tuple[str, ...]:
        """Return the last lines of a job's log, as far as they came here."""
        from remote.jobs.spool import Spool

        folder = self.folder_of(job.host)
        spool = Spool.of(self.workspace, job.host, job.job).log
        path = spool if folder is None or spool.exists() else folder / "jobs" / job.job / "log"
        if not path.exists():
            return ()
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 65536))
            said = log.read().decode(errors="replace").splitlines()
        return tuple(line.rpartition("\r")[2] for line in said[-lines:])

    def provider(self, name: str) -> Provider | None:
        """Return who starts and stops that host; None for one that is not ours to stop. Raises InvalidRequest."""
        from remote.hosts.settings import switched_hosts

        if name not in self._providers and name in switched_hosts(self.workspace):
            from t2v_tui.workers.providers import SwitchedVm

            self._providers[name] = SwitchedVm(name, self.workspace)
        return self._providers.get(name)

    def left_vm(self, name: str) -> StepState | None:
        """Say what becomes of a VM when somebody leaves the start of work on it; None where nobody is paid for one."""
        from remote.power.host import switched
        from remote.power.start import left_vm

        if self.folder_of(name) is not None or self.provider(name) is None:
            return None
        host = switched(self.jobs(name).host)
        return None if host is None else left_vm(host, self.workspace)

    def folder_of(self, name: str) -> Path | None:
        """Return its workspace, when that is a folder of this machine."""
        return self.workspace.root if name == LOCAL else None
