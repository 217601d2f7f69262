"""Brings a machine up until its SSH server answers: two steps, VM and SSH, which look first and may be asked again."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

from remote.cost.meter import HostCost, PriceUnknown
from remote.errors import AgentError, AuthFailed, CloudError, HostKeyRefused, HostUnreachable, LoginExpired
from remote.guard import install_guard, resume_preempted
from remote.hosts.ssh_socket import silence
from remote.power.host import MachineHost
from remote.power.state import MachineState, Power
from remote.steps import ProgressIterator, Status, StepState
from remote.text import LOG_IN, NOT_LOGGED_IN
from remote.workspace_id import identity
from t2v_core.format import limit, span, usd
from t2v_core.workspace import Workspace

VM, SSH = "VM", "SSH"
# Images with GPU drivers take up to two minutes from RUNNING to an SSH server.
SSH_TIMEOUT_S, SSH_PAUSE_S = 240.0, 1.0
TELL_EVERY_S = 5.0


def vm_up(host: MachineHost, workspace: Workspace, cancelled: threading.Event | None = None) -> Iterator[StepState]:
    """Start the VM if it does not run, with the cloud's own limit on it, and say what it costs.

    A stock-out is tried again until whoever iterates leaves, or somebody sets `cancelled`; what becomes of the VM then,
    `left_vm` tells. Raises CloudError after yielding the failed step.
    """
    cost = HostCost.of(workspace, host.name, host.settings)
    try:
        state = host.vm.state()
        if state.is_running:
            yield StepState(VM, Status.OK, _state_words(state, cost))
            return
        yield StepState(VM, Status.DOING, f"{state.status}; starting it: {_what_it_is(state, cost)}")
        if state.is_stopped and host.vm.has_own_limit:
            yield from _limited(host, state)
        state = yield from _started(host, cancelled)
    except CloudError as error:
        yield StepState(VM, Status.FAILED, error.message, error.hint)
        raise
    yield StepState(VM, Status.DONE, _state_words(state, cost))


def _limited(host: MachineHost, state: MachineState) -> Iterator[StepState]:
    """Its provider stops it after max_run_h, unless it has a tighter limit. What forbids that stops nobody."""
    wanted_h = host.settings.max_run_h
    if state.max_run_s is not None and state.max_run_s <= wanted_h * 3600:
        return
    try:
        host.vm.set_max_run(wanted_h)
        yield StepState(
            VM, Status.DOING, f"{host.vm.provider} stops it after {limit(wanted_h * 3600)} whatever happens"
        )
    except CloudError as error:
        yield StepState(
            VM, Status.NOTE, f"no limit of {limit(wanted_h * 3600)} could be set: {error.message}", error.hint
        )


def _started(host: MachineHost, cancelled: threading.Event | None) -> Generator[StepState, None, MachineState]:
    def start(tell: Callable[[StepState | MachineState], None], cancelled: threading.Event) -> MachineState:
        return host.vm.start(tell=tell, cancelled=cancelled)

    for said in (starting := ProgressIterator(start, cancelled)):
        yield said if isinstance(said, StepState) else StepState(VM, Status.DOING, said.status)
    return starting.result


def _state_words(state: MachineState, cost: HostCost) -> str:
    """`RUNNING at 34.1.2.3, a2-highgpu-1g, $3.67 an hour (est.)`; what was seen goes into the ledger."""
    where = f" at {state.address}" if state.address else ""
    with suppress(PriceUnknown):  # it is noted without a price
        cost.see(state)
    return f"{state.status}{where}, {_what_it_is(state, cost)}"


def _what_it_is(state: MachineState, cost: HostCost) -> str:
    return ", ".join(filter(None, (state.machine_type, _price_in_words(state, cost))))


def _price_in_words(state: MachineState, cost: HostCost) -> str:
    try:
        price = cost.price(state)
    except PriceUnknown:
        return "money, how much is not known here"
    about = f" (est., prices of {price.date})" if price.is_estimate else ""
    return f"{usd(price.usd_per_hour)} an hour{about}"


def left_vm(host: MachineHost, workspace: Workspace) -> StepState:
    """Say what becomes of the VM when somebody leaves while work is being started on it.

    OK when it is off and stays so.

    A start that was asked of the cloud cannot be taken back. Asks the cloud, for some seconds while it is not clear.
    """
    cost, vm = HostCost.of(workspace, host.name, host.settings), host.vm
    stop_it = f"t2v vm stop --host {host.name} ends that"
    try:
        state = vm.left()
    except CloudError as error:
        why = "its start was requested, and " if vm.is_start_asked else ""
        what = f"{vm.name} may be running, and costing money: {why}its state cannot be read: {error.message}"
        return StepState(VM, Status.NOTE, what, stop_it)
    if state.is_running:
        _state_words(state, cost)  # into the ledger
        return StepState(VM, Status.NOTE, f"{vm.name} runs and costs {_price_in_words(state, cost)}", stop_it)
    is_coming = state.power is Power.STARTING
    if is_coming or vm.is_start_asked:
        will = "will run" if is_coming else "may come up"
        what = f"{vm.name} is {state.status} and {will}, since a requested start cannot be cancelled"
        price = _price_in_words(state, cost)
        return StepState(VM, Status.NOTE, f"{what}; it costs {price} until it is stopped", stop_it)
    return StepState(VM, Status.OK, f"{vm.name} is {state.status}; nothing was started")


def ssh_up(host: MachineHost) -> Iterator[StepState]:
    """Wait until the VM's SSH server answers and lets us in, its keys pinned; of one that runs for long, only look.

    Raises HostKeyRefused, AuthFailed, HostUnreachable, CloudError after yielding the failed step.
    """
    began = told = time.monotonic()
    try:
        up_s = _up_s(host.ask_state())
        deadline = began + max(0.0, SSH_TIMEOUT_S - up_s)
        while (why := silence(host.route)) and time.monotonic() < deadline:
            _require_login(host, why)
            if time.monotonic() - told >= TELL_EVERY_S or told == began:
                told = time.monotonic()
                beside = f": {why}" if host.route.proxy else ""
                what = f"booting; no SSH server yet after {up_s + told - began:.0f} s{beside}"
                yield StepState(SSH, Status.DOING, what)
            time.sleep(SSH_PAUSE_S)
        yield from _let_in(host, deadline)
    except (HostUnreachable, CloudError) as error:
        yield StepState(SSH, Status.FAILED, error.message, error.hint)
        raise
    yield StepState(SSH, Status.OK, f"{host.user}@{host.route}, {host.key_name}")


def _require_login(host: MachineHost, why: str) -> None:
    """A tunnel that lacks a login will lack it in four minutes as well. Raises LoginExpired."""
    if host.route.proxy and NOT_LOGGED_IN.search(why):
        raise LoginExpired(f"{host.route.program} cannot reach {host.route}: {why}", LOG_IN)


def _up_s(state: MachineState) -> float:
    """For how long it runs, as far as the API says."""
    return math.inf if state.last_start_t is None else state.seen_t - state.last_start_t


def _let_in(host: MachineHost, deadline: float) -> Iterator[StepState]:
    """A system that is booting refuses everybody but root for some seconds after its SSH server answers."""
    while True:
        try:
            host.connect()
            return
        except HostKeyRefused:
            raise
        except HostUnreachable as error:
            if time.monotonic() > deadline:
                raise
            why = "no login works yet" if isinstance(error, AuthFailed) else error.message
        yield StepState(SSH, Status.DOING, why)
        time.sleep(SSH_PAUSE_S)


def guarded(host: MachineHost, workspace: Workspace, *, is_replacing: bool = False) -> Iterator[StepState]:
    """Install the guard. A VM without one works as well, and costs money when it is forgotten: that is only said.

    is_replacing: this workspace's rules take the place of another's
    """
    if host.vm.stays_on:
        yield StepState("guard", Status.NOTE, f"nothing stops it when it is idle: {host.vm.stays_on}")
        return
    try:
        guard = install_guard(
            host, host.settings, identity(workspace), is_replacing=is_replacing, is_any_machine=host.vm.is_any_machine
        )
    except AgentError as error:
        yield StepState("guard", Status.NOTE, f"nothing stops it when it is idle: {error.message}", error.hint)
        return
    if guard.kept_of:
        left_h = max(0.0, (guard.cap_t or 0.0) - time.time()) / 3600
        detail = f"it keeps the rules of {guard.kept_of}, and stops the VM in {span(left_h * 3600)} at the latest"
        hint = f"to have those of this t2v.toml: t2v vm start --host {host.name} --replace-guard"
        yield StepState("guard", Status.NOTE, detail, hint)
    elif guard.can_power_off:
        left_h = host.settings.max_run_h if guard.cap_t is None else max(0.0, guard.cap_t - time.time()) / 3600
        idle = f"stops it after {limit(host.settings.idle_stop_min * 60)} without work"
        yield StepState("guard", Status.OK, f"{idle}, and in {span(left_h * 3600)} whatever it does")
    else:
        yield StepState(
            "guard", Status.NOTE, "it is not allowed to switch the VM off", f"let {host.user} use sudo there"
        )


def resumed(host: MachineHost) -> Iterator[StepState]:
    """Go on with a training that a preemption ended; nothing is told when there is none."""
    for one in resume_preempted(host):
        whence = "from its newest checkpoint" if one.from_checkpoint else "from the beginning"
        yield StepState("resume", Status.DONE, f"{one.before} was preempted and goes on as {one.job}, {whence}")
