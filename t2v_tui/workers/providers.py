"""Who starts, stops and bills a machine: a provider of remote's, or the demo's stand-in for one. Every call blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from remote.steps import StepState
from t2v_core.workspace import Workspace
from t2v_tui.store.cost_view import CostView
from t2v_tui.store.events import VmReceived
from t2v_tui.store.state import GuardView, VmView

if TYPE_CHECKING:
    from remote.cost.meter import Meter
    from remote.guard import GuardState
    from remote.hosts.host import Host
    from remote.power.state import MachineState

TellStep = Callable[[StepState], None]


class Provider(Protocol):
    """One machine's. Raises EngineError."""

    def look(self) -> VmReceived:
        """Return how it stands, and what it costs. One round trip to the provider, none to the machine."""

    def start(self, tell: TellStep, cancelled: threading.Event) -> None:
        """Bring it up; a stock-out is tried again until `cancelled` is set."""

    def stop(self) -> None:
        """Take it down; returns when the provider says that it is off."""

    def guard(self, host: Host) -> GuardView | None:
        """Return when it stops by itself, by its own word."""

    def keep(self, host: Host, seconds: float) -> GuardView | None:
        """Let it run on for so long although it is idle; 0 lets go of it."""


def vm_view(vm: MachineState, *, is_simulated: bool = False) -> VmView:
    """Return the VM as the screens show it; `started_t` is None while it does not run."""
    gpus = ", ".join(f"{count} × {kind.removeprefix('nvidia-')}" for kind, count in vm.gpus)
    started_t = vm.last_start_t if vm.is_running else None
    return VmView(vm.power, vm.seen_t, started_t, vm.machine_type, vm.zone, is_simulated, gpus=gpus)


def cost_view(meter: Meter, up_usd_per_hour: float, at_t: float) -> CostView:
    """Return what the meter says, as it was at `at_t` (Unix seconds)."""
    return CostView(
        meter.usd_per_hour, meter.usd_today, meter.usd_session, meter.disk_usd_per_hour, at_t, meter.is_estimate,
        up_usd_per_hour,
    )  # fmt: skip


class SwitchedVm:
    """Implements `Provider` with remote's own parts, whoever the provider is."""

    def __init__(self, name: str, workspace: Workspace) -> None:
        from remote.cost.meter import HostCost
        from remote.host_factory import switched_host

        self.name, self.workspace = name, workspace
        host = switched_host(name, workspace)
        self.vm, self.cost = host.vm, HostCost.of(workspace, name, host.settings)

    def look(self) -> VmReceived:
        """Ask how it stands and what it costs; without a price the cost is None and `problem` says why."""
        from remote.cost.meter import PriceUnknown

        state = self.vm.state()
        try:
            price, meter = self.cost.price(state), self.cost.see(state)
            cost: CostView | None = cost_view(meter, price.usd_per_hour, state.seen_t)
            problem = ""
        except PriceUnknown as error:
            cost, problem = None, error.message
        return VmReceived(self.name, replace(vm_view(state), problem=problem), cost)

    def start(self, tell: TellStep, cancelled: threading.Event) -> None:
        """Start it as `t2v vm start` does. Raises StartLeft once `cancelled` is set.

        It comes with the provider's own limit on it, a guard in it, and what a preemption ended goes on.
        """
        from remote.errors import StartLeft
        from remote.host_factory import switched_host
        from remote.power.start import guarded, resumed, ssh_up, vm_up

        with closing(switched_host(self.name, self.workspace)) as host:
            for steps in (
                vm_up(host, self.workspace, cancelled),
                ssh_up(host),
                guarded(host, self.workspace),
                resumed(host),
            ):
                for step in steps:
                    tell(step)
                    if cancelled.is_set():
                        raise StartLeft(f"the wait for {self.name} was cancelled")

    def stop(self) -> None:
        """Take it down; returns when its provider says that it is off."""
        self.vm.stop()

    def guard(self, host: Host) -> GuardView | None:
        """Ask the guard in the machine when it stops by itself."""
        from remote.guard import guard_status

        return guard_view(guard_status(host))

    def keep(self, host: Host, seconds: float) -> GuardView | None:
        """Ask its guard to let it run on for so many seconds although it is idle; 0 lets go of it."""
        from remote.guard import keep

        return guard_view(keep(host, seconds))


def guard_view(guard: GuardState) -> GuardView | None:
    """Return the guard as the screens show it: what is wrong with it, else what keeps the machine up or ends it."""
    if not guard.is_installed:
        return GuardView(why="no guard: it does not stop by itself")
    why = ", ".join((*guard.busy, *guard.unknown)) or guard.why
    problem = guard.error or ("" if guard.is_alive else "the guard no longer checks")
    return GuardView(guard.stops_t, problem or why, guard.kept_until_t, guard.cap_t, is_busy=bool(guard.busy))
