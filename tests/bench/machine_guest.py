"""The inside of the bench's VM as a real machine: the cloud switches it on and off, and sees when it goes off."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.cloud.guest_agent import keys_named
from bench.cloud.metadata_server import MetadataServer
from bench.machine import Machine, run

if TYPE_CHECKING:
    from bench.cloud.compute_state import Instance


@dataclass
class MachineGuest:
    """Google's guest agent and firmware for a machine of the bench.

    metadata: where it hears of its preemption
    user:     whose keys are those of the VM's metadata; nobody else's are
    """

    machine: Machine
    metadata: MetadataServer
    user: str = "me"
    _is_up: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._allow([])

    def boot(self, instance: Instance) -> None:
        """Returns when it lets its users in."""
        with self._lock:
            if self._is_up or instance.status != "RUNNING":
                return
            if instance.metadata.items.get("enable-guest-attributes", "").upper() == "TRUE":
                kind, key = self.machine.public_host_key.split()
                instance.guest_attributes["hostkeys"] = {kind: key + "\n"}
            if self.metadata.is_preempted:
                self.metadata.flip(to=False)
            self.machine.start()
            self._is_up = True

    def is_off(self, instance: Instance) -> bool:  # one machine
        return self._is_up and not self.machine.is_on

    def shut_down(self, instance: Instance) -> None:  # one machine
        """By the power button, as the cloud does it."""
        with self._lock:
            if self._is_up:
                with suppress(ProcessLookupError):  # it went off by itself
                    self.machine.power_off()
                self._is_up = False

    def metadata_changed(self, instance: Instance, project_items: dict[str, str]) -> None:
        self._allow(keys_named(self.user, instance.metadata.items, project_items))

    def _allow(self, keys: list[str]) -> None:
        folder = f"/home/{self.user}/.ssh"
        self.machine.write(f"{folder}/authorized_keys", "".join(f"{key}\n" for key in keys))
        run("chown", f"--reference={self.machine.path(folder)}", str(self.machine.path(f"{folder}/authorized_keys")))
