"""SSH to a machine behind three commands: as to any host, but its status command may say where it is."""

from __future__ import annotations

from remote.hosts.openssh import client_config
from remote.hosts.ssh_config import ClientConfig
from remote.power.host import MachineHost
from remote.power.state import MachineState


class CommandHost(MachineHost):
    """Implements `Host`. Where t2v.toml gives no address its keys are pinned under its name: the address may change."""

    keys_by = "by its address"

    def ask_state(self) -> MachineState:
        """Ask how it stands now; where it is may have changed since. Raises HostOff, CloudError."""
        state = super().ask_state()
        self._config = None
        return state

    @property
    def _has_address(self) -> bool:
        return self.settings.address not in ("", self.name)

    def _asked(self) -> ClientConfig:
        settings = self.settings
        address = settings.address if self._has_address else self.state.address or self.name
        return client_config(address, user=settings.user, port=settings.port)

    @property
    def key_name(self) -> str:
        """Return the name under which its key is pinned: that of t2v.toml, else its address there, else its name."""
        return self.known_key_name or super().key_name

    @property
    def known_key_name(self) -> str | None:
        """Return the same, where nobody need be asked for it."""
        return self.settings.key_name or (None if self._has_address else self.name)
