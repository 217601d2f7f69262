"""SSH to a Compute Engine VM: its address from the API, its keys by the API's word, gcloud's ways with users and keys.

What ~/.ssh/config says of its name does not count; a VM has no name that lasts but `compute.<id>`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from remote.dial import Route, jump_through, proxy_argv
from remote.errors import AuthFailed, HostKeyChanged, HostOff, HostUnreachable
from remote.gce import Vm
from remote.gce_login import Login, gcloud_key, let_in, login_to
from remote.host_keys import KnownHosts, fingerprint
from remote.host_settings import HostSettings
from remote.ssh import SSHHost
from remote.vm_state import VmState

if TYPE_CHECKING:
    from remote.link import Link

NO_CONFIG = Path("/dev/null")
SSH_PORT = 22
# The guest agent reads new keys within seconds; gcloud gives it a minute, too.
LET_IN_TIMEOUT_S, LET_IN_PAUSE_S = 60.0, 1.0


class GceHost(SSHHost):
    """Implements `Host`. Its connections begin with a look at the VM: HostOff when it does not run, CloudError."""

    def __init__(self, name: str, settings: HostSettings, vm: Vm, *, known_hosts: KnownHosts | None = None) -> None:
        super().__init__(name, settings, known_hosts=known_hosts, config=NO_CONFIG)
        self.vm = vm
        self._state: VmState | None = None
        self._login: Login | None = None

    def look(self) -> VmState:
        """How the VM stands now. Raises HostOff, CloudError."""
        self._state = state = self.vm.state()
        if not state.is_running:
            raise HostOff(f"{self.vm.name} is {state.status}", f"t2v vm start --host {self.name}")
        return state

    @property
    def state(self) -> VmState:
        """As it was seen last."""
        return self._state or self.look()

    @property
    def has_seen_it_run(self) -> bool:
        """When it was looked at last."""
        return self._state is not None and self._state.is_running

    @property
    def route(self) -> Route:
        port = self.settings.port or SSH_PORT
        if self.settings.iap:
            return Route(self.vm.name, port, iap_tunnel(self.vm, port))
        host = self._address()
        if self.settings.proxy_command:
            return Route(host, port, proxy_argv(self.settings.proxy_command, host, port))
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
        return self.settings.key_name or self.state.key_name

    @property
    def login(self) -> Login:
        """Asked once. Raises CloudError, AskedWrongly."""
        if self._login is None:
            self._login = login_to(self.vm, self.settings.user)
        return self._login

    @property
    def user(self) -> str:
        return self.settings.user or self.login.user

    @property
    def identity(self) -> Path | None:
        return self.settings.identity or (gcloud_key() if gcloud_key().exists() else None)

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

    def _new_link(self) -> Link:
        self.look()
        self.pin()
        try:
            return super()._new_link()
        except HostKeyChanged as error:
            raise self._judged(error) from error
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
                return super()._new_link()
            except AuthFailed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LET_IN_PAUSE_S)


def iap_tunnel(vm: Vm, port: int) -> list[str]:
    """The argv whose stdin and stdout are a connection through Identity-Aware Proxy."""
    return [
        "gcloud", "compute", "start-iap-tunnel", vm.name, str(port), "--listen-on-stdin",
        f"--project={vm.project}", f"--zone={vm.zone}",
    ]  # fmt: skip
