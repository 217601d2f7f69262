"""SSH to a machine that can be switched on and off: a look at it comes before each connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remote.errors import HostOff
from remote.hosts.host import Host
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.power.machine import Machine
from remote.power.state import MachineState

if TYPE_CHECKING:
    from remote.hosts.ssh_connection import Link


class MachineHost(SSHHost):
    """Implements `Host`. Its connections begin with a look at the machine: HostOff when it does not run, CloudError.

    let_it_power_off: the line, typed there, by which its user may switch it off; empty where none is known
    keys_by:          what its keys are pinned under while nobody has asked, in words
    """

    let_it_power_off = ""
    keys_by = "by address"

    def __init__(
        self, name: str, settings: HostSettings, vm: Machine, *, known_hosts: KnownHosts | None = None
    ) -> None:
        super().__init__(name, settings, known_hosts=known_hosts)
        self.vm = vm
        self._state: MachineState | None = None

    def ask_state(self) -> MachineState:
        """Ask how the machine stands now. Raises HostOff, CloudError."""
        self._state = state = self.vm.state()
        if not state.is_running:
            raise HostOff(f"{self.vm.name} is {state.status}", f"t2v vm start --host {self.name}")
        return state

    @property
    def state(self) -> MachineState:
        """Return how the machine stood when it was seen last; look at it if it never was."""
        return self._state or self.ask_state()

    @property
    def has_seen_it_run(self) -> bool:
        """Tell whether it ran when it was looked at last."""
        return self._state is not None and self._state.is_running

    @property
    def known_key_name(self) -> str | None:
        """Return the name under which its keys are pinned, as far as that is known without asking anybody."""
        return self.settings.key_name

    def _new_link(self) -> Link:
        self.ask_state()
        return self._link_of_running()

    def _link_of_running(self) -> Link:
        """A connection to one that was seen running just now."""
        return super()._new_link()


def switched(host: Host) -> MachineHost | None:
    """Return the host as one whose machine can be switched on and off; None for any other."""
    return host if isinstance(host, MachineHost) else None
