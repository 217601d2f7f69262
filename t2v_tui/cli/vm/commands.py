"""`t2v vm status | start | stop | list`. Whether a VM runs and whether its SSH server answers are two facts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remote.cost.meter import HostCost, PriceUnknown
from remote.errors import CloudError, HostUnreachable, RemoteError
from remote.guard import GuardState
from remote.power.state import MachineState
from remote.steps import Status, StepState
from t2v_core.errors import InvalidRequest
from t2v_core.format import date_time, limit, span, usd
from t2v_core.workspace import Workspace
from t2v_tui.cli.main import Common
from t2v_tui.cli.narrate import Narrator, narrator
from t2v_tui.cli.vm.cost import Which, which_vm
from t2v_tui.cli.vm.guard import as_json_guard, asked_guard, guard_in_words, last_stop_in_words
from t2v_tui.cli.vm.left import tell_of_vm, told_if_left
from t2v_tui.find_workspace import find_workspace

if TYPE_CHECKING:
    from remote.power.host import MachineHost

ANSWER_TIMEOUT_S = 5.0
TUNNEL_TIMEOUT_S = 20.0  # gcloud takes seconds to begin


def status(
    ctx: typer.Context,
    host: Which = None,
    with_guard: Annotated[
        bool, typer.Option("--guard", help="Also ask the VM when it will stop by itself; takes a second.")
    ] = False,
) -> int:
    """Show a VM's state: what the cloud says about it, and whether its SSH server answers.

    \b
    Examples:
      t2v vm status
      t2v vm status --guard
      t2v --json vm status --host a100-golden
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    with closing(_host(host, workspace)) as there:
        state = there.vm.state()
        why_not = ssh_silence(there, state)
        guard = asked_guard(there) if with_guard and not why_not else None
        cost = HostCost.of(workspace, there.name, there.settings)
        if common.as_json:
            beside = {"guard": as_json_guard(guard)} if with_guard else {}
            print(json.dumps(as_json(there.name, state, why_not) | beside, indent=2))
        else:
            print("\n".join(lines(there, state, why_not, cost, guard)))
    return 0


def ssh_silence(host: MachineHost, state: MachineState) -> str:
    """Return why its SSH server does not answer; "" when it does."""
    from remote.hosts.ssh_socket import silence  # --help needs no sockets

    if not state.is_running:
        return "it is off" if state.is_stopped else state.status
    timeout_s = TUNNEL_TIMEOUT_S if host.settings.iap else ANSWER_TIMEOUT_S
    try:
        return silence(host.route, timeout_s)
    except HostUnreachable as error:
        return error.message


def as_json(name: str, state: MachineState, why_not: str | None) -> dict[str, Any]:
    """Return a VM as values for JSON.

    why_not: SSH does not answer; None when nobody looked
    """
    said = {
        "host": name,
        **asdict(state),
        "power": state.power,
        "is_running": state.is_running,
        "is_stopped": state.is_stopped,
    }
    return said if why_not is None else {**said, "ssh_answers": not why_not, "ssh_why_not": why_not}


def lines(
    host: MachineHost, state: MachineState, why_not: str, cost: HostCost, guard: GuardState | RemoteError | None = None
) -> Iterator[str]:
    """Yield a table of two columns."""
    rows = {
        "VM": f"{state.status}{_since(state)}",
        "SSH answers": "yes" if not why_not else f"no: {why_not}",
        "where": f"{state.where}{_address_of(state)}",
        "machine": machine_of(state) or "not known",
        "costs": _price_of(state, cost),
        **({"limit": _limit_of(host.vm.provider, state)} if host.vm.has_own_limit else {}),
        **({} if guard is None else {"guard": guard_in_words(guard, state.seen_t)}),
        **({"last stop": by_itself} if (by_itself := last_stop_in_words(guard)) else {}),
    }
    width = max(map(len, rows))
    yield host.name
    for what, said in rows.items():
        yield f"  {what:<{width}}  {said}"


def _since(state: MachineState) -> str:
    if state.is_running and state.last_start_t is not None:
        return f" for {span(state.seen_t - state.last_start_t)}"
    if state.is_stopped and state.last_stop_t is not None:
        return f" since {date_time(state.last_stop_t)}"
    return ""


def _address_of(state: MachineState) -> str:
    """One that is off has none, whatever it has when it runs."""
    return f", {state.address or 'no external address'}" if state.is_running else ""


def machine_of(state: MachineState) -> str:
    """Return `a2-highgpu-1g, 1 × nvidia-tesla-a100, 200 GB of disk, spot`."""
    gpus = [f"{count} × {kind}" for kind, count in state.gpus]
    disks = f"{state.disks_gb:g} GB of disk" if state.disks_gb else ""
    return ", ".join(filter(None, (state.machine_type, *gpus, disks, "spot" if state.is_spot else "")))


def _price_of(state: MachineState, cost: HostCost) -> str:
    try:
        meter, price = cost.see(state), cost.price(state)
    except PriceUnknown as unknown:
        return unknown.message
    about = " (est.)" if price.is_estimate else ""
    if state.is_running or meter.since_t is not None:  # a state that nobody knows may cost as well
        return f"{usd(meter.usd_per_hour)} an hour, {usd(meter.usd_session)} since its start{about}"
    return f"{usd(meter.disk_usd_per_hour)} an hour for its disks, {usd(price.usd_per_hour)} when it runs{about}"


def _limit_of(provider: str, state: MachineState) -> str:
    if state.max_run_s is None:
        return f"none set at {provider}"
    when = f", at {date_time(state.termination_t)}" if state.termination_t is not None else ""
    return f"{provider} stops it {limit(state.max_run_s)} after its start{when}"


def start(
    ctx: typer.Context,
    host: Which = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return as soon as it runs; SSH may not answer yet.")
    ] = False,
    is_replacing: Annotated[
        bool,
        typer.Option(
            "--replace-guard", help="Give its guard the rules of this t2v.toml instead of another workspace's."
        ),
    ] = False,
) -> int:
    """Start a VM, wait until its SSH server lets you in, set up its guard, and resume what a preemption ended.

    When the zone has no such machine available, it keeps trying until there is one. Ctrl-C leaves, and says whether
    the VM comes up all the same: a start requested from the cloud cannot be cancelled.

    \b
    Examples:
      t2v vm start
      t2v vm start --host a100-golden --no-wait
    """
    from remote.power.start import guarded, resumed, ssh_up, vm_up

    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    teller = narrator()
    with closing(_host(host, workspace)) as there, told_if_left(there, workspace, teller):
        told(vm_up(there, workspace), teller)
        if not no_wait:
            told(ssh_up(there), teller)
            told(guarded(there, workspace, is_replacing=is_replacing), teller)
            told(resumed(there), teller)
        state = there.state if not no_wait else there.vm.state()
    _print_state(common, there.name, state)
    return 0


def told(steps: Iterable[StepState], teller: Narrator) -> None:
    """Say each step once. A failed one is the error that comes with it."""
    before = None
    for state in steps:
        if state != before and state.status is not Status.FAILED:
            style = "yellow" if state.status is Status.NOTE else "dim"
            teller.say(f"  {state.name}: {state.detail}" + (f" ({state.hint})" if state.hint else ""), style)
        before = state


def stop(
    ctx: typer.Context,
    host: Which = None,
    is_forced: Annotated[bool, typer.Option("--force", help="Stop it even while jobs run on it.")] = False,
) -> int:
    """Stop a VM, and wait until the cloud confirms it. Its disks stay, and continue to cost a little.

    \b
    Example:
      t2v vm stop
    """
    common: Common = ctx.obj
    workspace = find_workspace(common.workspace, os.environ)
    teller = narrator()
    with closing(_host(host, workspace)) as there:
        before = there.vm.state()
        if before.is_running and not is_forced:
            _refuse_while_at_work(there, workspace, before, teller)

        def tell(said: StepState | MachineState) -> None:
            teller.say(f"  VM: {said.detail if isinstance(said, StepState) else said.status}", "dim")

        try:
            state = there.vm.stop(tell=tell)
        except KeyboardInterrupt:
            see = f"t2v vm status --host {there.name} shows whether it is off"
            teller.say(
                f"stopped waiting before {there.vm.provider} confirmed that {there.vm.name} is off; {see}", "yellow"
            )
            raise
        except CloudError:
            tell_of_vm(there, workspace, teller, then="it was not stopped")
            raise
    _see(workspace, there, state)
    teller.say(f"{there.vm.name} is {'off already' if before.is_stopped else 'stopped'}: {state.status}", "green")
    _print_state(common, there.name, state)
    return 0


def _refuse_while_at_work(host: MachineHost, workspace: Workspace, state: MachineState, teller: Narrator) -> None:
    """One that does not answer can be stopped all the same: it costs money, and nobody knows what it does."""
    from remote.jobs.client import HostJobs

    if why_not := ssh_silence(host, state):
        teller.say(f"  SSH does not answer ({why_not}), so it is not known whether it is at work", "yellow")
        return
    try:
        alive = [row.job for row in HostJobs(host, workspace).rows() if not row.has_ended]
    except RemoteError as error:
        teller.say(f"  it could not be asked whether it is at work: {error.message}", "yellow")
        return
    if alive:
        hint = f"t2v stop {alive[0]} first, or: t2v vm stop --host {host.name} --force"
        raise InvalidRequest(f"{host.name} is at work: {', '.join(alive[:3])}", hint)


def list_(ctx: typer.Context) -> int:
    """List every VM of the project, in all zones, and which of them t2v.toml names.

    \b
    Examples:
      t2v vm list
      t2v --json vm list
    """
    from remote.host_factory import machines

    common: Common = ctx.obj
    found = list(machines(find_workspace(common.workspace, os.environ)))
    if common.as_json:
        print(json.dumps([as_json(name, one, None) for name, one in found], indent=2))
        return 0
    for name, one in found:
        beside = f"[host.{name}]" if name else ""
        print(f"{one.name}\t{one.zone}\t{one.status}\t{one.address or '-'}\t{machine_of(one)}\t{beside}".rstrip())
    if not found:
        print("there is no VM yet", file=sys.stderr)
    return 0


def _host(asked: str | None, workspace: Workspace) -> MachineHost:
    from remote.host_factory import switched_host

    return switched_host(which_vm(asked, workspace)[0], workspace)


def _see(workspace: Workspace, host: MachineHost, state: MachineState) -> None:
    """Into the ledger, with a price or without one."""
    _price_of(state, HostCost.of(workspace, host.name, host.settings))


def _print_state(common: Common, name: str, state: MachineState) -> None:
    if common.as_json:
        print(json.dumps(as_json(name, state, None), indent=2))
    else:
        print(f"{name}\t{state.status}\t{state.address or '-'}")
