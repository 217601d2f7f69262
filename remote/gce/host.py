"""SSH to a Compute Engine VM: its address from the API, its keys by the API's word, gcloud's ways with users and keys.

What ~/.ssh/config says of its name does not count; a VM has no name that lasts but `compute.<id>`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from remote.errors import AuthFailed, HostKeyChanged, HostUnreachable, LoginImpossible
from remote.gce.login import Login, gcloud_key, let_in, login_to
from remote.gce.vm import Vm
from remote.hosts.known_hosts import KnownHosts, fingerprint
from remote.hosts.settings import HostSettings
from remote.hosts.ssh_config import ClientConfig, Credentials, filled, plain_tokens, unasked
from remote.hosts.ssh_socket import Route, by_command, jump_through
from remote.power.host import MachineHost
from t2v_core.workspace import expanded

if TYPE_CHECKING:
    from remote.hosts.ssh_connection import Link

SSH_PORT = 22
# The guest agent reads new keys within seconds; gcloud gives it a minute, too.
LET_IN_TIMEOUT_S, LET_IN_PAUSE_S = 60.0, 1.0


class GceHost(MachineHost):
    """Implements `Host`; its machine is the VM."""

    let_it_power_off = "sudo usermod -aG google-sudoers {user}"
    keys_by = "by compute.ID"
    vm: Vm

    def __init__(self, name: str, settings: HostSettings, vm: Vm, *, known_hosts: KnownHosts | None = None) -> None:
        super().__init__(name, settings, vm, known_hosts=known_hosts)
        self._login: Login | None = None

    @property
    def route(self) -> Route:
        """Return how to get to the VM: IAP, a ProxyCommand, a jump or its address, as t2v.toml says.

        Raises HostUnreachable when it has no address to reach.
        """
        port = self.settings.port or SSH_PORT
        if self.settings.iap:
            return Route(self.vm.name, port, iap_tunnel(self.vm, port))
        host = self._address()
        if self.settings.proxy_command:
            config = replace(self.config, host=host, port=port, user=self.user)
            return by_command(Route(host, port), filled(self.settings.proxy_command, plain_tokens(config)))
        return Route(host, port, jump_through(self.settings.jump, host, port) if self.settings.jump else ())

    def _address(self) -> str:
        if self.settings.address not in ("", self.name):
            return self.settings.address
        if self.settings.jump and self.state.internal_address:
            return self.state.internal_address
        if self.state.address is None:
            hint = f"add iap = true to [host.{self.name}], or an address that can be reached from here"
            raise HostUnreachable(f"{self.vm.name} has no external address", hint)
        return self.state.address

    @property
    def key_name(self) -> str:
        """Return the name under which its key is pinned: that of t2v.toml, else `compute.<id>`."""
        return self.settings.key_name or self.state.key_name

    @property
    def login(self) -> Login:
        """Return how to log in, asked once. Raises CloudError, InvalidRequest."""
        if self._login is None:
            self._login = login_to(self.vm, self.settings.user)
        return self._login

    @property
    def user(self) -> str:
        """Return who logs in: the user of t2v.toml, else whom the cloud knows."""
        return self.settings.user or self.login.user

    def _asked(self) -> ClientConfig:
        return unasked(self.name)

    @property
    def credentials(self) -> Credentials:
        """Return gcloud's key alone, when there is one, as gcloud itself does it."""
        ours = self.settings.identity or (gcloud_key() if gcloud_key().exists() else None)
        plain = self.config
        files = plain.identity_files if ours is None else (expanded(ours),)
        return Credentials(self.user, files, agent=plain.agent, is_identities_only=ours is not None)

    def pin(self) -> bool:
        """Pin its keys if none is: by the API's word, else as gcloud has them. False when neither knows any."""
        name = self.key_name
        if self.known_hosts.pinned(name):
            return True
        gcloud_knows = KnownHosts(Path.home() / ".ssh/google_compute_known_hosts")
        keys = list(self.vm.host_keys()) or gcloud_knows.pinned(name)
        if keys:
            self.known_hosts.pin(name, keys)
        return bool(keys)

    def _link_of_running(self) -> Link:
        self.pin()
        try:
            return super()._link_of_running()
        except HostKeyChanged as error:
            raise self._judged(error) from error
        except LoginImpossible:  # so nothing is written into the VM's metadata, and nothing waited for
            raise
        except AuthFailed:
            let_in(self.vm, self.login, self.settings.identity or gcloud_key())
        return self._let_in_soon()

    def _judged(self, error: HostKeyChanged) -> HostKeyChanged:
        """With the API's word on it. It does not decide: anything in the VM can make the API say it."""
        pinned = self.known_hosts.pinned(self.key_name)
        news = [fingerprint(key) for key in self.vm.host_keys() if key not in pinned]
        word = "does" if any(one in error.message for one in news) else "does not"
        return HostKeyChanged(f"{error.message}; Google Cloud {word} list the key that it shows", error.hint)

    def _let_in_soon(self) -> Link:
        deadline = time.monotonic() + LET_IN_TIMEOUT_S
        while True:
            try:
                return super()._link_of_running()
            except AuthFailed as error:
                if isinstance(error, LoginImpossible) or time.monotonic() > deadline:
                    raise
            time.sleep(LET_IN_PAUSE_S)


def iap_tunnel(vm: Vm, port: int) -> list[str]:
    """Return the argv whose stdin and stdout are a connection through Identity-Aware Proxy."""
    return [
        "gcloud", "compute", "start-iap-tunnel", vm.name, str(port), "--listen-on-stdin",
        f"--project={vm.project}", f"--zone={vm.zone}",
    ]  # fmt: skip
