"""Before anything starts: every host is there, has the same t2v and the same data, and reaches every other one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from remote.errors import NotReady, RemoteError
from remote.hosts.settings import LOCAL, settings_of
from remote.jobs.client import HostJobs
from remote.jobs.host_pool import HostPool
from remote.launch.launch import Launch
from remote.replies.job_row import ALIVE
from remote.replies.meeting import InterfaceAddress, Meeting
from remote.replies.questions import MEETING, PART, REACH
from remote.steps import Status
from t2v_core.errors import EngineError, InvalidRequest
from t2v_core.processes.place import Place
from t2v_core.specs import TrainSpec
from t2v_core.workspace import Workspace

# The Python there starts and reads 300 files, from a cold disk at worst.
MEETING_TIMEOUT_S, REACH_TIMEOUT_S = 90.0, 30.0
FEWEST_HOSTS = 2
R = TypeVar("R")
Tell = Callable[[str, str], None]


def hosts_in(text: str, workspace: Workspace) -> tuple[str, ...]:
    """Return the hosts that `--hosts a,b` names, the first one first. Raises InvalidRequest."""
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < FEWEST_HOSTS or not all(names):
        raise InvalidRequest(
            f"--hosts = {text!r} does not name two hosts or more",
            "--hosts a,b with hosts of t2v.toml; --host a for one",
        )
    known: dict[tuple[object, ...], str] = {}
    for name in names:
        there = (LOCAL,) if name == LOCAL else _where(name, workspace)
        if there in known:
            same = known[there]
            word = "twice" if same == name else f"as well as {same}, and that is the same place"
            raise InvalidRequest(f"--hosts names {name} {word}", "each host once; --processes N for several on one")
        known[there] = name
    return names


def _where(name: str, workspace: Workspace) -> tuple[object, ...]:
    settings = settings_of(name, workspace)
    return (
        settings.provider, settings.address, settings.user, settings.port, settings.workdir, settings.instance or name
        if settings.is_switched else None, settings.zone, settings.project,
    )  # fmt: skip


@dataclass(frozen=True)
class ReadyHost:
    """A host that could begin now. release: that its job needs there; None where the engine is not ours to bring"""

    name: str
    jobs: HostJobs
    release: str | None


def make_ready(name: str, pool: HostPool, spec: TrainSpec, tell: Tell) -> ReadyHost:
    """Start a host's machine if need be, bring t2v there, and look for data and disk.

    tell: is told host and sentence of what takes time
    Raises what is missing, with the host's name.
    """
    jobs = pool.jobs(name)
    launch = Launch(jobs.host, pool.workspace, "train", spec, jobs=jobs)
    steps, release = launch.ready(), None
    try:
        while True:
            state = next(steps)
            if state.status in (Status.DOING, Status.DONE, Status.NOTE):
                tell(name, f"{state.name}: {state.detail}")
    except StopIteration as over:
        release = over.value.name if over.value is not None else None
    except RemoteError as error:
        raise _named(error, name) from error
    if spec.device != "cpu":
        busy = [row for row in jobs.rows() if row.state in ALIVE and row.needs_gpu]
        if busy:
            raise NotReady(f"{name} is busy with {busy[0].job}", f"wait for it, or: t2v stop {busy[0].job}")
    return ReadyHost(name, jobs, release)


def _named(error: RemoteError, name: str) -> RemoteError:
    """The same error with the host in its sentence: of several, one is meant."""
    if name not in error.message:
        error.message = f"{name}: {error.message}"
        error.args = (error.message,)
    return error


def places_of(hosts: Sequence[ReadyHost], spec: TrainSpec, run: str) -> list[Place]:
    """Return the place of each host, in their order, after each has reached each other one.

    run: what tells this start of the job from others
    Raises NotReady for another release or other data than the first host has, and for a way that is blocked.
    """
    token = secrets.token_hex(32)
    meetings = _of_each(hosts, lambda host: _meeting(host, spec, token))
    _require_same(hosts, meetings, spec)
    chosen = _ways(hosts, meetings, token)
    _of_each(hosts, lambda host: host.jobs.ask(PART, token=token))
    first = meetings[0]
    return [
        Place(
            rank, tuple(host.name for host in hosts), chosen[0].address, first.port, at.interface, at.address, run
        )
        for rank, at in enumerate(chosen)
    ]  # fmt: skip


def _of_each(hosts: Sequence[ReadyHost], ask: Callable[[ReadyHost], R]) -> list[R]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, hosts))


def _meeting(host: ReadyHost, spec: TrainSpec, token: str) -> Meeting:
    with_release: dict[str, Any] = {"release": host.release} if host.release else {}
    try:
        return host.jobs.ask(
            MEETING, timeout_s=MEETING_TIMEOUT_S, python=[host.jobs.host.engine_python], data=str(spec.data),
            token=token, **with_release,
        )  # fmt: skip
    except RemoteError as error:
        raise _named(error, host.name) from error


def _require_same(hosts: Sequence[ReadyHost], meetings: Sequence[Meeting], spec: TrainSpec) -> None:
    first, said = hosts[0], meetings[0]
    for host, other in zip(hosts[1:], meetings[1:], strict=True):
        if other.code != said.code:
            raise NotReady(
                f"{host.name} has another t2v than {first.name}",
                f"bring this one to both: t2v bootstrap --host {first.name}; t2v bootstrap --host {host.name}",
            )
        if other.torch != said.torch:
            raise NotReady(
                f"{host.name} has torch {other.torch or 'not installed'}, and {first.name} has {said.torch}",
                "processes of one job need the same: t2v bootstrap, or python = in t2v.toml",
            )
        for what in ("latents", "text_embeddings"):
            if getattr(other, what) != getattr(said, what):
                raise NotReady(
                    f"{host.name} has other {what.replace('_', ' ')} in {spec.data} than {first.name}",
                    f"bring the same to both: t2v push data --host {host.name}",
                )


def _ways(hosts: Sequence[ReadyHost], meetings: Sequence[Meeting], token: str) -> list[InterfaceAddress]:
    """The address of each host that every other one reaches."""
    tried = _of_each(hosts, lambda host: _reached(host, hosts, meetings, token))
    chosen = []
    for number, (host, said) in enumerate(zip(hosts, meetings, strict=True)):
        others = [seen[number] for seen in tried]
        if not said.addresses:
            raise NotReady(f"{host.name} has no IPv4 address but its own loopback", "the hosts need a common network")
        good = [
            at for place, at in enumerate(said.addresses)
            if all(not why[place] for row, why in enumerate(others) if row != number)
        ]  # fmt: skip
        if not good:
            raise _blocked(hosts, number, said, others)
        chosen.append(good[0])
    return chosen


def _reached(
    host: ReadyHost, hosts: Sequence[ReadyHost], meetings: Sequence[Meeting], token: str
) -> list[tuple[str, ...]]:
    """Why a host does not reach each address of each other one; of its own none is tried."""
    places = [
        {"address": at.address, "port": said.port}
        for other, said in zip(hosts, meetings, strict=True) if other is not host for at in said.addresses
    ]  # fmt: skip
    why = iter(host.jobs.ask(REACH, timeout_s=REACH_TIMEOUT_S, places=places, token=token).why)
    return [
        () if other is host else tuple(next(why) for _ in said.addresses)
        for other, said in zip(hosts, meetings, strict=True)
    ]


def _blocked(hosts: Sequence[ReadyHost], number: int, said: Meeting, others: Sequence[tuple[str, ...]]) -> NotReady:
    row = next(row for row, why in enumerate(others) if row != number and any(why))
    tried = "; ".join(
        f"{at.address} ({at.interface}) port {said.port}: {why}"
        for at, why in zip(said.addresses, others[row], strict=True)
    )
    return NotReady(
        f"{hosts[row].name} does not reach {hosts[number].name}: {tried}",
        "processes talk over free TCP ports in both directions: let a firewall pass all of them between these hosts",
    )


def require_hosts(found: Sequence[ReadyHost | EngineError]) -> list[ReadyHost]:
    """Return the hosts when all are ready. Raises the first thing that is missing."""
    for one in found:
        if isinstance(one, EngineError):
            raise one
    return [one for one in found if isinstance(one, ReadyHost)]
