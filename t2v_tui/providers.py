"""Who starts, stops and bills a machine: Google Compute Engine, or the demo's stand-in for it. Every call blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from remote.steps import StepState
from t2v_core.workspace import Workspace
from t2v_tui.cost_view import CostView
from t2v_tui.news import VmHeard
from t2v_tui.state import GuardView, Power, VmView

if TYPE_CHECKING:
    from remote.cost import Meter
    from remote.guard import GuardState
    from remote.hosts import Host
    from remote.vm_state import VmState

TellStep = Callable[[StepState], None]


class Provider(Protocol):
    """One machine's. Raises EngineError."""

    def look(self) -> VmHeard:
        """How it stands, and what it costs. One round trip to the provider, none to the machine."""

    def start(self, tell: TellStep, left: threading.Event) -> None:
        """Bring it up; a stock-out is tried again until `left` is set."""

    def stop(self) -> None:
        """Take it down; returns when the provider says that it is off."""

    def guard(self, host: Host) -> GuardView | None:
        """When it stops by itself, by its own word."""

    def keep(self, host: Host, seconds: float) -> GuardView | None:
        """Let it run on for so long although it is idle; 0 lets go of it."""


def power_of(vm: VmState) -> Power:
    from remote.vm_state import ON_THE_WAY_DOWN, ON_THE_WAY_UP  # noqa: PLC0415

    if vm.is_running:
        return Power.RUNNING
    if vm.is_stopped:
        return Power.STOPPED
    if vm.status in ON_THE_WAY_UP:
        return Power.STARTING
    return Power.STOPPING if vm.status in ON_THE_WAY_DOWN else Power.UNKNOWN


def vm_view(vm: VmState, *, is_simulated: bool = False) -> VmView:
    gpus = ", ".join(f"{count} × {kind.removeprefix('nvidia-')}" for kind, count in vm.gpus)
    started_t = vm.last_start_t if vm.is_running else None
    return VmView(power_of(vm), vm.seen_t, started_t, vm.machine_type, vm.zone, is_simulated, gpus=gpus)


def cost_view(meter: Meter, up_usd_per_hour: float, at_t: float) -> CostView:
    return CostView(
        meter.usd_per_hour, meter.usd_today, meter.usd_session, meter.disk_usd_per_hour, at_t, meter.is_estimate,
        up_usd_per_hour,
    )  # fmt: skip


class GoogleVm:
    """Implements `Provider` with remote's own parts."""

    def __init__(self, name: str, workspace: Workspace) -> None:
        from remote.cost import HostCost  # noqa: PLC0415
        from remote.vms import vm_hosts, vm_named  # noqa: PLC0415

        self.name, self.workspace = name, workspace
        self.vm = vm_named(name, workspace)
        self.settings = vm_hosts(workspace)[name]
        self.cost = HostCost.of(workspace, name, self.settings)

    def look(self) -> VmHeard:
        from remote.cost import PriceUnknown  # noqa: PLC0415

        state = self.vm.state()
        try:
            price, meter = self.cost.price(state), self.cost.see(state)
            cost: CostView | None = cost_view(meter, price.usd_per_hour, state.seen_t)
            problem = ""
        except PriceUnknown as error:
            cost, problem = None, error.message
        return VmHeard(self.name, replace(vm_view(state), problem=problem), cost)

    def start(self, tell: TellStep, left: threading.Event) -> None:
        """As `t2v vm start`: with the cloud's own limit on it, a guard in it, and what a preemption ended goes on."""
        from remote.errors import StartLeft  # noqa: PLC0415
        from remote.gce_host import GceHost  # noqa: PLC0415
        from remote.vm_up import guarded, resumed, ssh_up, vm_up  # noqa: PLC0415

        with closing(GceHost(self.name, self.settings, self.vm)) as host:
            for steps in (vm_up(host, self.workspace, left), ssh_up(host), guarded(host), resumed(host)):
                for step in steps:
                    tell(step)
                    if left.is_set():
                        raise StartLeft(f"nobody waits for {self.name} any more")

    def stop(self) -> None:
        self.vm.stop()

    def guard(self, host: Host) -> GuardView | None:
        from remote.guard import guard_status  # noqa: PLC0415

        return guard_view(guard_status(host))

    def keep(self, host: Host, seconds: float) -> GuardView | None:
        from remote.guard import keep  # noqa: PLC0415

        return guard_view(keep(host, seconds))


def guard_view(guard: GuardState) -> GuardView | None:
    if not guard.is_installed:
        return GuardView(why="no guard: it does not stop by itself")
    why = ", ".join((*guard.busy, *guard.unknown)) or guard.why
    problem = guard.error or ("" if guard.is_alive else "the guard does not look any more")
    return GuardView(guard.stops_t, problem or why, guard.kept_until_t, guard.cap_t, is_busy=bool(guard.busy))
