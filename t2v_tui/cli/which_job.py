"""Which job is meant, and on which host: by id, by a unique part of it, or the newest."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from remote.errors import CloudError, HostUnreachable, JobNotFound, RemoteError
from remote.host_jobs import HostJobs
from remote.host_settings import LOCAL, read_hosts
from remote.hosts import host_named
from remote.job_row import JobRow
from remote.spool import known_rows
from t2v_core.errors import AskedWrongly
from t2v_core.workspace import Workspace


@dataclass(frozen=True)
class Listed:
    """A job and how fresh the word about it is.

    seen_t: Unix time in seconds when its host said so; None: just now
    """

    host: str
    row: JobRow
    seen_t: float | None = None


class Hosts:
    """The hosts of a workspace, each connected at most once and only when it is needed; a context manager.

    unreachable: why, by host, of those that were asked and did not answer
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.unreachable: dict[str, RemoteError] = {}
        self._open: dict[str, HostJobs] = {}

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *_: object) -> None:
        for jobs in self._open.values():
            jobs.close()

    @property
    def names(self) -> list[str]:
        return [LOCAL, *read_hosts(self.workspace)]

    def jobs(self, name: str) -> HostJobs:
        """Raises AskedWrongly for a host that t2v.toml does not know."""
        if name not in self._open:
            self._open[name] = HostJobs(host_named(name, self.workspace), self.workspace)
        return self._open[name]

    def asked(self, name: str) -> list[Listed]:
        """The jobs of a host as it says now; as it said last when it cannot be reached."""
        try:
            return [Listed(name, row) for row in self.jobs(name).rows()]
        except (HostUnreachable, CloudError) as error:
            self.unreachable[name] = error
            return self.remembered(name)

    def remembered(self, name: str) -> list[Listed]:
        """The jobs of a host as it said when it was asked last, without a connection."""
        return [Listed(name, known.row, known.seen_t) for known in known_rows(self.workspace, name)]

    def all_asked(self, names: Sequence[str]) -> list[Listed]:
        """Of several hosts at once: one that is off holds up the others only as long as itself."""
        for name in names:
            self.jobs(name)
        with ThreadPoolExecutor(max_workers=8) as pool:
            return [listed for rows in pool.map(self.asked, names) for listed in rows]

    def at_hand(self) -> list[Listed]:
        """This machine's jobs, and what is remembered of the other hosts'."""
        others = [name for name in self.names if name != LOCAL]
        return self.asked(LOCAL) + [listed for name in others for listed in self.remembered(name)]


def find_job(asked: str | None, host: str | None, hosts: Hosts, *, is_alive_first: bool = False) -> Listed:
    """The job that is meant. Without a host: among those at hand, and if it is none of them, among every host's.

    asked:          an id, a unique part of one, or None for the newest
    is_alive_first: the newest that has not ended goes before a newer one that has
    Raises AskedWrongly when it fits several, JobNotFound with the nearest ids, HostUnreachable when only a host that
    does not answer could know it.
    """
    listed = hosts.asked(host) if host else hosts.at_hand()
    if asked is not None and not host and not fitting(asked, listed):
        others = [name for name in hosts.names if name != LOCAL]
        listed = hosts.asked(LOCAL) + hosts.all_asked(others)
    found = (
        [newest(listed, is_alive_first=is_alive_first)] if asked is None and listed else fitting(asked or "", listed)
    )
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise AskedWrongly(
            f"'{asked}' is part of {len(found)} jobs: {', '.join(one.row.job for one in found[:5])}",
            hint="type more of the id",
        )
    if hosts.unreachable:
        name, error = next(iter(hosts.unreachable.items()))
        raise HostUnreachable(f"{error.message}; what is remembered of {name} has no such job", error.hint)
    raise _not_found(asked, host, listed)


def newest(listed: Sequence[Listed], *, is_alive_first: bool) -> Listed:
    """By the time at which it was asked for."""
    return max(listed, key=lambda one: (is_alive_first and not one.row.has_ended, one.row.began_t, one.row.job))


def fitting(asked: str, listed: Sequence[Listed]) -> list[Listed]:
    """The job of that id, else every job with that in its id."""
    exact = [one for one in listed if one.row.job == asked]
    return exact or [one for one in listed if asked in one.row.job]


def _not_found(asked: str | None, host: str | None, listed: Sequence[Listed]) -> JobNotFound:
    where = f"on {host}" if host else "here or on any host" if asked else "here"
    if asked is None:
        return JobNotFound(f"there is no job {where}", "t2v jobs --all asks every host of t2v.toml")
    near = difflib.get_close_matches(asked, [one.row.job for one in listed], n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "t2v jobs --all lists them"
    return JobNotFound(f"there is no job '{asked}' {where}", hint)
