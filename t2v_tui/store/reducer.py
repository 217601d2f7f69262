"""From a state and what happened to the next state: pure, and tested without a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from remote.power.state import Power
from remote.replies.job_row import JobRow
from remote.steps import Status, StepState
from t2v_tui.store.events import (
    GuardReceived,
    HostChosen,
    HostsKnown,
    JobShown,
    LaunchBegun,
    LaunchClosed,
    LaunchEstimated,
    LaunchLeft,
    LaunchQueued,
    LaunchSaid,
    LaunchTurned,
    LinkReceived,
    MachineReceived,
    News,
    Remembered,
    RowsReceived,
    RunEnded,
    RunPiece,
    TransferGone,
    TransferReceived,
    VmReceived,
)
from t2v_tui.store.run_fold import joined
from t2v_tui.store.state import (
    HostKind,
    HostView,
    JobKey,
    JobView,
    LaunchPhase,
    LaunchView,
    LinkView,
    Reach,
    RunView,
    State,
    TransferView,
)

FIRST_LOSS = "first loss"
Key = TypeVar("Key")
Value = TypeVar("Value")


def reduce(state: State, news: News) -> State:  # noqa: PLR0911, PLR0912 - one line a kind of news
    """Return the state after `news`; the same object when nothing changed."""
    match news:
        case HostsKnown(hosts):
            return _with_hosts(state, hosts)
        case Remembered():
            return _remembered(state, news)
        case HostChosen(host):
            return replace(state, host=host) if host in state.hosts else state
        case JobShown(job):
            return replace(state, shown=job)
        case LinkReceived(host, link):
            return _linked(state, host, link)
        case RowsReceived():
            return _rows(state, news)
        case VmReceived():
            return _vm(state, news)
        case GuardReceived(host, guard):
            return _host(state, host, guard=guard)
        case MachineReceived(host, sample, t):
            return _host(state, host, machine=sample, machine_t=t)
        case RunPiece(job):
            before = RunView() if news.is_first else state.runs.get(job, RunView())
            after = replace(state, runs=_put(state.runs, job, joined(before, news)))
            return _first_loss(after, news)
        case RunEnded(job, row, seen_t):
            after = replace(state, jobs=_put(state.jobs, job, JobView(job, row, seen_t)))
            return _ended_early(after, job, row)
        case LaunchBegun(launch):
            return replace(state, launch=launch)
        case LaunchClosed():
            return replace(state, launch=None)
        case LaunchLeft(host, step) if shows_left(state, host) and state.launch is not None:
            return replace(state, launch=_launch(state.launch, LaunchSaid(step)))
        case LaunchSaid() | LaunchEstimated() | LaunchTurned() | LaunchQueued() if state.launch is not None:
            return replace(state, launch=_launch(state.launch, news))
        case TransferReceived(transfer):
            return replace(state, transfers=_transfers(state.transfers, transfer))
        case TransferGone(id_):
            return replace(state, transfers=tuple(one for one in state.transfers if one.id != id_))
    return state


def shows_left(state: State, host: str) -> bool:
    """Tell whether the panel is still that of the launch that was cancelled."""
    launch = state.launch
    return launch is not None and launch.phase is LaunchPhase.CANCELLED and launch.host == host


def _put(values: Mapping[Key, Value], key: Key, value: Value) -> Mapping[Key, Value]:
    return MappingProxyType({**values, key: value})


def _host(state: State, name: str, **changes: Any) -> State:
    """A host that is no longer in t2v.toml stays away, whatever a worker still says of it."""
    host = state.hosts.get(name)
    return state if host is None else replace(state, hosts=_put(state.hosts, name, replace(host, **changes)))


def _with_hosts(state: State, hosts: tuple[HostView, ...]) -> State:
    known = {}
    for host in hosts:
        before = state.hosts.get(host.name)
        known[host.name] = host if before is None else replace(
            before, kind=host.kind, address=host.address, workdir=host.workdir, vm=before.vm or host.vm
        )  # fmt: skip
    chosen = state.host if state.host in known else next(iter(known), state.host)
    return replace(state, hosts=MappingProxyType(known), host=chosen)


def _remembered(state: State, news: Remembered) -> State:
    hosts = {name: news.hosts.get(name, host) for name, host in state.hosts.items()} or dict(news.hosts)
    jobs = {job.key: job for job in news.jobs} | dict(state.jobs)
    chosen = news.host if news.host in hosts or (news.host and not hosts) else state.host
    return replace(
        state,
        hosts=MappingProxyType(hosts),
        jobs=MappingProxyType(jobs),
        host=chosen,
        shown=state.shown or news.shown,
    )


def _linked(state: State, name: str, link: LinkView) -> State:
    """When this machine was heard last, and how soon, nobody is told: each answer would draw the screen again."""
    before = state.hosts.get(name)
    is_here = before is not None and before.kind is HostKind.LOCAL
    if is_here and before is not None and before.link.reach is link.reach is Reach.UP:
        return state
    return _host(state, name, link=_link(before, link))


def _link(host: HostView | None, link: LinkView) -> LinkView:
    """The same state of the link goes on since it began; a host that is lost was seen when it was seen last."""
    before = host.link if host else LinkView()
    since_t = before.since_t if before.reach is link.reach and before.since_t else link.since_t
    seen_t = before.seen_t if link.seen_t is None else link.seen_t
    latency_s = link.latency_s if link.reach is Reach.UP else before.latency_s
    return replace(link, since_t=since_t, seen_t=seen_t, latency_s=latency_s)


def _vm(state: State, news: VmReceived) -> State:
    """When the provider could not be asked, what it said last stays, with its age."""
    before = state.hosts.get(news.host)
    vm = news.vm
    if before is not None and before.vm is not None:
        vm = replace(vm, asked=before.vm.asked)
    if before is not None and before.vm is not None and vm.power is Power.UNKNOWN and vm.problem:
        vm = replace(before.vm, problem=vm.problem, hint=vm.hint)
    cost = news.cost or (before.cost if before else None)
    if vm.power is Power.STOPPED:  # what it measured and when it would stop ended with it
        return _host(state, news.host, vm=vm, cost=cost, guard=None, machine=None, machine_t=None)
    return _host(state, news.host, vm=vm, cost=cost, guard=news.guard or (before.guard if before else None))


def _rows(state: State, news: RowsReceived) -> State:
    """What the host no longer has is gone, and a job that begins to run is shown when none is."""
    jobs = {key: job for key, job in state.jobs.items() if key.host != news.host}
    for row in news.rows:
        key = JobKey(news.host, row.job)
        known = state.jobs.get(key)
        is_same = known is not None and (known.row is row or known.row == row)
        jobs[key] = known if known is not None and is_same else JobView(key, row, news.seen_t)
    if jobs == state.jobs:  # nothing to draw: 500 jobs are asked for every four seconds
        return state
    return replace(state, jobs=MappingProxyType(jobs))


def _first_loss(state: State, piece: RunPiece) -> State:
    """The last step of a launch is not ours: the engine's first step is."""
    launch = state.launch
    if launch is None or launch.job != piece.job or launch.phase is not LaunchPhase.WORKING:
        return state
    if launch.verb != "train":
        return state
    run = state.runs[piece.job]
    if not run.curve.losses:
        step = StepState(FIRST_LOSS, Status.DOING, run.stage)
        return replace(state, launch=replace(launch, steps=_steps(launch.steps, step)))
    step = StepState(FIRST_LOSS, Status.DONE, f"{run.curve.losses[0]:.4g}")
    return replace(state, launch=replace(launch, phase=LaunchPhase.DONE, steps=_steps(launch.steps, step)))


def _ended_early(state: State, job: JobKey, row: JobRow) -> State:
    launch = state.launch
    if launch is None or launch.job != job or launch.phase is not LaunchPhase.WORKING:
        return state
    if row.state == "succeeded":
        return replace(state, launch=replace(launch, phase=LaunchPhase.DONE))
    name = FIRST_LOSS if launch.verb == "train" else launch.verb
    step = StepState(name, Status.FAILED, row.reason or row.state, row.hint)
    return replace(state, launch=replace(launch, phase=LaunchPhase.FAILED, steps=_steps(launch.steps, step)))


def _launch(launch: LaunchView, news: News) -> LaunchView:
    match news:
        case LaunchEstimated(estimate):
            return replace(launch, estimate=estimate)
        case LaunchTurned(phase, job, tail):
            return replace(launch, phase=phase, job=job or launch.job, tail=tail)
        case LaunchQueued(waiting):
            return replace(launch, waiting=waiting)
        case LaunchSaid(step):
            return replace(launch, steps=_steps(launch.steps, step))
    return launch


def _steps(steps: tuple[StepState, ...], step: StepState) -> tuple[StepState, ...]:
    """In the order in which they were first said."""
    if any(one.name == step.name for one in steps):
        return tuple(step if one.name == step.name else one for one in steps)
    return (*steps, step)


def _transfers(transfers: tuple[TransferView, ...], new: TransferView) -> tuple[TransferView, ...]:
    if any(one.id == new.id for one in transfers):
        return tuple(new if one.id == new.id else one for one in transfers)
    return (*transfers, new)
