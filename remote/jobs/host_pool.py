"""The hosts of a workspace by name: the one place that opens, keeps and closes them and the clients of their jobs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from t2v_core.workspace import Workspace

if TYPE_CHECKING:
    from remote.hosts.host import Host
    from remote.jobs.client import HostJobs


class HostPool:
    """Each host is connected at most once, and only when it is needed. A context manager; threads may share it.

    Nothing that is slow to import is imported before the first host is asked for.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._open: dict[str, HostJobs] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> list[str]:
        """Return this machine's name, then those of t2v.toml. Raises InvalidRequest when that is wrong."""
        from remote.hosts.settings import LOCAL, read_hosts

        return [LOCAL, *read_hosts(self.workspace)]

    def host(self, name: str) -> Host:
        """Return a host with a connection of its own, for what streams. Raises InvalidRequest for one not known."""
        from remote.host_factory import host_named

        return host_named(name, self.workspace)

    def jobs(self, name: str) -> HostJobs:
        """Return the jobs of a host, over the one connection that is kept. Raises InvalidRequest for one not known."""
        from remote.jobs.client import HostJobs

        with self._lock:
            if name not in self._open:
                self._open[name] = HostJobs(self.host(name), self.workspace)
            return self._open[name]

    def close(self) -> None:
        """End all conversations; jobs go on."""
        with self._lock:
            open_, self._open = self._open, {}
        for jobs in open_.values():
            jobs.close()
