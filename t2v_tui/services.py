"""What the app can ask of hosts and files. Every method blocks and raises EngineError: only workers call them.

Nothing of `remote` that is slow to import is imported before the first call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from t2v_core.workspace import Workspace
from t2v_tui.state import LOCAL, HostKind, HostView, JobKey, JobView, VmView

if TYPE_CHECKING:
    from remote.host_jobs import HostJobs, RemoteJob, Stopped
    from remote.hosts import Host
    from remote.job_row import JobRow
    from t2v_core.specs import Spec


@dataclass(frozen=True)
class Answer:
    """The jobs of a host and how long the question took."""

    rows: tuple[JobRow, ...]
    latency_s: float


class Services:
    """The hosts of one workspace, each connected at most once and only when it is needed. Threads may share it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._open: dict[str, HostJobs] = {}
        self._lock = threading.Lock()

    def hosts(self) -> tuple[HostView, ...]:
        """This machine, and those of t2v.toml. Raises AskedWrongly when that is wrong."""
        from remote.host_settings import read_hosts  # noqa: PLC0415

        here = HostView(LOCAL, HostKind.LOCAL, "this machine", str(self.workspace.root))
        views = [here]
        for name, one in read_hosts(self.workspace).items():
            is_vm = one.provider == "gcloud"
            kind, vm = (HostKind.VM, VmView(zone=one.zone or "")) if is_vm else (HostKind.SSH, None)
            views.append(HostView(name, kind, one.address or name, one.workdir, vm=vm))
        return tuple(views)

    def host(self, name: str) -> Host:
        """A connection of its own, for what streams. Raises AskedWrongly."""
        from remote.hosts import host_named  # noqa: PLC0415

        return host_named(name, self.workspace)

    def jobs(self, name: str) -> HostJobs:
        """Raises AskedWrongly for a host that t2v.toml does not know."""
        from remote.host_jobs import HostJobs  # noqa: PLC0415

        with self._lock:
            if name not in self._open:
                self._open[name] = HostJobs(self.host(name), self.workspace)
            return self._open[name]

    def rows(self, name: str) -> Answer:
        """Raises HostUnreachable."""
        jobs = self.jobs(name)
        began = time.monotonic()
        rows = tuple(jobs.rows())
        return Answer(rows, time.monotonic() - began)

    def remembered(self) -> tuple[JobView, ...]:
        """The jobs of every host as it said last: the spool can be read with all of them off."""
        from remote.spool import known_hosts, known_rows  # noqa: PLC0415

        return tuple(
            JobView(JobKey(host, known.row.job), known.row, known.seen_t)
            for host in known_hosts(self.workspace)
            for known in known_rows(self.workspace, host)
        )

    def spec(self, verb: str, values: Mapping[str, Any]) -> Spec:
        """What was chosen, over what t2v.toml says. Raises AskedWrongly."""
        import os  # noqa: PLC0415

        from t2v_core.settings import values_for  # noqa: PLC0415
        from t2v_core.specs import make_spec  # noqa: PLC0415

        return make_spec(verb, values_for(verb, self.workspace, os.environ, values))

    def submit(self, name: str, verb: str, spec: Spec, **options: Any) -> RemoteJob:
        """Start a job that goes on without us."""
        return self.jobs(name).submit(verb, spec, **options)

    def stop(self, job: JobKey) -> Stopped:
        """End a job and all its processes; takes as long as its last checkpoint."""
        return self.jobs(job.host).stop(job.job)

    def reconnect(self, name: str) -> None:
        """Forget the connection, so that the next question makes a new one."""
        with self._lock:
            jobs = self._open.pop(name, None)
        if jobs is not None:
            jobs.close()

    def close(self) -> None:
        """End all conversations; jobs go on."""
        with self._lock:
            open_, self._open = self._open, {}
        for jobs in open_.values():
            jobs.close()
