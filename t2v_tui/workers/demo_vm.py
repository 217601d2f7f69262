"""The demo's VM: a real agent and a real engine in a folder of this machine, behind the protocol of any other host.

Only what a cloud would do is played: it is on or off, coming up takes a moment, and its price is a real machine's.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from remote.errors import HostOff
from remote.gce.vm_state import RUNNING, VmState
from remote.hosts.agent_client import ProcessChannel, agent_argv
from remote.steps import Status, StepState
from t2v_core.disk.files import write_json
from t2v_core.disk.plain_json import read_table
from t2v_core.disk.private import make_folder
from t2v_core.disk.typed_json import UnixTime, read_as
from t2v_core.workspace import Workspace
from t2v_tui.store.events import VmReceived
from t2v_tui.store.session import SessionMemory
from t2v_tui.store.state import GuardView, HostKind, HostView, VmView
from t2v_tui.workers.providers import Provider, TellStep, cost_view, vm_view
from t2v_tui.workers.services import Services

if TYPE_CHECKING:
    from remote.hosts.host import Host

NAME = "demo-vm"
MACHINE, ZONE, GPU = "a2-highgpu-1g", "us-central1-a", "nvidia-tesla-a100"
DISKS_GB = 100.0
COMES_UP_S, GOES_DOWN_S = 3.0, 2.0
IDLE_STOP_S = 30 * 60.0
STAGING, STOPPING, STOPPED = "STAGING", "STOPPING", "TERMINATED"


# What a training of the demo is, as `t2v demo` does it, with more to look at on the way.
DEMO_MEMORY = SessionMemory(
    host=NAME,
    chosen={
        "train": {
            "preset": "tiny", "epochs": 36, "checkpoint_every": 6, "samples": 1, "attention": "frame",
            "timestep_logit_mean": 1.0, "held_out_clips": 16, "seed": 7,
        }
    },
)  # fmt: skip


class DemoHost:
    """Implements `Host`: the agent is a child of this process, and its workspace is `vm/` in the demo's."""

    name = NAME
    is_managed = False
    is_twin = True

    def __init__(self, machine: DemoMachine) -> None:
        from remote.hosts.settings import DEFAULTS  # with pydantic, which the first paint does not need

        self.settings = DEFAULTS
        self.machine = machine
        self.workdir = str(machine.folder)
        self.engine_python = sys.executable

    def open(self, arguments: Sequence[str]) -> ProcessChannel:
        """Start an agent as a child of this process. Raises HostOff while the machine does not run."""
        if self.machine.state().status != RUNNING:
            raise HostOff(f"{NAME} is {self.machine.state().status}", "v shows it; u starts it")
        return ProcessChannel(agent_argv(arguments, sys.executable), name=NAME)

    def twin(self, window_bytes: int) -> DemoHost:  # pipes have no window
        """Return this host itself: its pipes have no window."""
        return self

    def close(self) -> None:
        """Do nothing: each conversation is a child that ends with its channel."""


@dataclass(frozen=True)
class Stands:
    """How the machine stands, as its file says."""

    status: str = STOPPED
    start_t: UnixTime | None = None
    stop_t: UnixTime | None = None
    kept_until_t: UnixTime | None = None


class DemoMachine:
    """Implements `Provider`. How it stands lies in a file, so that it goes on while nobody looks."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.root / "vm"
        self.file = workspace.root / ".t2v/tui/demo-vm.json"
        self.workspace = workspace
        self._busy_t = time.time()

    def _read(self) -> Stands:
        try:
            return read_as(Stands, read_table(self.file))
        except (OSError, ValueError):
            return Stands()

    def _write(self, stands: Stands) -> None:
        make_folder(self.file.parent)
        write_json(self.file, vars(stands))

    def state(self) -> VmState:
        """Return how it stands, as a cloud would say it; off when its file cannot be read."""
        said = self._read()
        return VmState(
            name=NAME, project="demo", zone=ZONE, id="1", status=said.status, machine_type=MACHINE,
            seen_t=time.time(), gpus=((GPU, 1),), disks_gb=DISKS_GB, last_start_t=said.start_t,
            last_stop_t=said.stop_t,
        )  # fmt: skip

    def look(self) -> VmReceived:
        """Return how it stands and what it costs, and note it in the demo's ledger."""
        from remote.cost.ledger import Ledger
        from remote.cost.meter import HostCost

        cost, state = HostCost(Ledger.of(self.workspace, NAME)), self.state()
        paid = cost_view(cost.see(state), cost.price(state).usd_per_hour, state.seen_t)
        return VmReceived(NAME, vm_view(state, is_simulated=True), paid)

    def start(self, tell: TellStep, cancelled: threading.Event) -> None:
        """Bring it up within 3 s unless it runs already; it is off again when `cancelled` is set meanwhile."""
        if self.state().status == RUNNING:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(replace(self._read(), status=STAGING))
        tell(StepState("VM", Status.DOING, STAGING))
        if cancelled.wait(COMES_UP_S):
            self._write(replace(self._read(), status=STOPPED))
            return
        self._write(replace(self._read(), status=RUNNING, start_t=time.time()))
        self._busy_t = time.time()

    def stop(self) -> None:
        """Take it down, and return after the 2 s that this takes."""
        self._write(replace(self._read(), status=STOPPING))
        time.sleep(GOES_DOWN_S)
        self._write(replace(self._read(), status=STOPPED, stop_t=time.time()))

    def guard(self, host: Host) -> GuardView:  # it looks at the folder itself
        """Return when it stops by itself: 30 min after the last job that was seen there; never during one."""
        is_busy = any((job / "state.json").exists() and not (job / "exit.json").exists() for job in self._jobs())
        self._busy_t = time.time() if is_busy else self._busy_t
        kept_t = self._read().kept_until_t or 0.0
        stops_t = None if is_busy else max(self._busy_t + IDLE_STOP_S, kept_t)
        return GuardView(stops_t, "a job is at work" if is_busy else "idle", kept_t or None, is_busy=is_busy)

    def _jobs(self) -> list[Path]:
        return list((self.folder / "jobs").glob("*"))

    def keep(self, host: Host, seconds: float) -> GuardView:
        """Keep it up for so many seconds although it is idle; 0 lets go of it."""
        self._write(replace(self._read(), kept_until_t=time.time() + seconds if seconds else None))
        return self.guard(host)


class DemoServices(Services):
    """This machine, and a VM that is played on it."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.machine = DemoMachine(workspace)

    def hosts(self) -> tuple[HostView, ...]:
        """Return the played VM, then the hosts that any workspace has."""
        view = HostView(NAME, HostKind.VM, "simulated", str(self.machine.folder), vm=VmView(is_simulated=True))
        return (view, *super().hosts())

    def host(self, name: str) -> Host:
        """Return the played VM by its name, else the host of that name. Raises InvalidRequest."""
        return DemoHost(self.machine) if name == NAME else super().host(name)

    def provider(self, name: str) -> Provider | None:
        """Return the played machine for its VM, else the provider of that host."""
        return self.machine if name == NAME else super().provider(name)

    def folder_of(self, name: str) -> Path | None:
        """Return the VM's workspace as well: it is a folder of this machine."""
        return self.machine.folder if name == NAME else super().folder_of(name)
