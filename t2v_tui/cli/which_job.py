"""Which job is meant, and on which host: by id, by a unique part of it, or the newest."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from remote.errors import HostUnreachable, JobNotFound
from remote.hosts.settings import LOCAL, settings_of
from remote.jobs.host_pool import HostPool
from remote.jobs.spool import known_rows
from remote.replies.job_row import JobRow
from t2v_core.errors import EngineError, InvalidRequest


@dataclass(frozen=True)
class Listed:
    """A job and how fresh the word about it is.

    seen_t: Unix time in seconds when its host said so; None: just now
    """

    host: str
    row: JobRow
    seen_t: float | None = None


class KnownJobs:
    """The jobs of the hosts of a pool: as each says now, or as it said last.

    unreachable: why, by host, of those that were asked and gave no answer, for whatever reason
    """

    def __init__(self, hosts: HostPool) -> None:
        self.hosts = hosts
        self.unreachable: dict[str, EngineError] = {}

    def asked(self, name: str) -> list[Listed]:
        """Return the jobs of a host as it says now; as it said last when nothing can be learned from it."""
        try:
            return [Listed(name, row) for row in self.hosts.jobs(name).rows()]
        except EngineError as error:
            self.unreachable[name] = error
            return self.remembered(name)

    def remembered(self, name: str, *, with_parts: bool = True) -> list[Listed]:
        """Return the jobs of a host as it said when it was asked last, without a connection.

        with_parts: also those that are parts of a job of this machine
        """
        known = known_rows(self.hosts.workspace, name, with_parts=with_parts)
        return [Listed(name, one.row, one.seen_t) for one in known]

    def all_asked(self, names: Sequence[str]) -> list[Listed]:
        """Ask several hosts at once, each by itself. Raises InvalidRequest for a name that t2v.toml does not know."""
        for name in names:
            if name != LOCAL:
                settings_of(name, self.hosts.workspace)
        with ThreadPoolExecutor(max_workers=8) as pool:
            return [listed for rows in pool.map(self.asked, names) for listed in rows]

    def at_hand(self) -> list[Listed]:
        """Return this machine's jobs, and what is remembered of the other hosts', parts of this machine's left out."""
        others = [name for name in self.hosts.names if name != LOCAL]
        return self.asked(LOCAL) + [listed for name in others for listed in self.remembered(name, with_parts=False)]


def find_job(asked: str | None, host: str | None, hosts: HostPool, *, is_alive_first: bool = False) -> Listed:
    """Return the job that is meant. Without a host: among those at hand, and if it is none of them, among every host's.

    asked:          an id, a unique part of one, or None for the newest
    is_alive_first: the newest that has not ended goes before a newer one that has
    Raises InvalidRequest when it fits several, JobNotFound with the nearest ids, HostUnreachable when only a host that
    does not answer could know it.
    """
    known = KnownJobs(hosts)
    listed = known.all_asked([host]) if host else known.at_hand()
    if not host and not (listed if asked is None else fitting(asked, listed)):
        others = [name for name in hosts.names if name != LOCAL]
        listed = known.all_asked([LOCAL, *others])
    found = (
        [newest(listed, is_alive_first=is_alive_first)] if asked is None and listed else fitting(asked or "", listed)
    )
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise InvalidRequest(
            f"'{asked}' matches {len(found)} jobs: {', '.join(one.row.job for one in found[:5])}",
            hint="type more of the id",
        )
    if known.unreachable:
        name, error = next(iter(known.unreachable.items()))
        raise HostUnreachable(f"{error.message}; the jobs remembered from {name} do not include it", error.hint)
    raise _not_found(asked, host, listed)


def newest(listed: Sequence[Listed], *, is_alive_first: bool) -> Listed:
    """Return the newest by the time at which it was asked for; another workspace's only where this one has none."""
    ours = [one for one in listed if not one.row.of]
    return max(ours or listed, key=lambda one: (is_alive_first and not one.row.has_ended, one.row.began_t, one.row.job))


def fitting(asked: str, listed: Sequence[Listed]) -> list[Listed]:
    """Return the job of that id, else every job with that in its id."""
    exact = [one for one in listed if one.row.job == asked]
    return exact or [one for one in listed if asked in one.row.job]


def _not_found(asked: str | None, host: str | None, listed: Sequence[Listed]) -> JobNotFound:
    where = f"on {host}" if host else "here or on any host"
    if asked is None:
        return JobNotFound(f"there is no job {where}", "t2v train starts one")
    near = difflib.get_close_matches(asked, [one.row.job for one in listed], n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "t2v jobs --all lists them"
    return JobNotFound(f"there is no job '{asked}' {where}", hint)
