"""The inside of the bench's VM: an SSH server that runs while the machine has power, and who may log in."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.sshd import Sshd

if TYPE_CHECKING:
    from bench.cloud.compute_state import Instance


@dataclass
class NoGuest:
    """A VM about which nothing but its state matters."""

    def boot(self, instance: Instance) -> None: ...

    def shut_down(self, instance: Instance) -> None: ...

    def is_off(self, instance: Instance) -> bool:
        return False

    def metadata_changed(self, instance: Instance, project_items: dict[str, str]) -> None: ...


@dataclass
class OsLogin:
    """An account's profile, whose keys a VM with enable-oslogin lets in instead of those of its metadata."""

    username: str
    keys: list[str] = field(default_factory=list)

    def profile(self) -> dict[str, Any]:
        account = {"primary": True, "username": self.username, "uid": "1001", "homeDirectory": "/home/me"}
        keys = {f"print{number}": {"key": key, "name": "k"} for number, key in enumerate(self.keys)}
        return {"name": "me@example.com", "posixAccounts": [account], "sshPublicKeys": keys}


@dataclass
class SshdGuest:
    """Google's guest agent and OpenSSH's server, as far as a client can see them.

    sshd: its authorized_keys are what the metadata says; nobody's at first
    publishes_keys: the host keys are written to the guest attributes at boot
    """

    sshd: Sshd
    publishes_keys: bool = True
    os_login: OsLogin | None = None
    _is_up: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        (self.sshd.folder / "authorized_keys").write_text("")

    def boot(self, instance: Instance) -> None:
        with self._lock:
            if self._is_up or instance.status != "RUNNING":
                return
            if self.publishes_keys and instance.metadata.items.get("enable-guest-attributes", "").upper() == "TRUE":
                kind, key = self.sshd.public_host_key.split()
                instance.guest_attributes["hostkeys"] = {kind: key + "\n"}
            self._off.unlink(missing_ok=True)
            self.sshd.start()
            self._is_up = True

    @property
    def _off(self) -> Path:
        """What poweroff is there; see `bench.sshd`."""
        return self.sshd.folder / "powered-off"

    def is_off(self, instance: Instance) -> bool:  # one machine
        return self._is_up and self._off.exists()

    def shut_down(self, instance: Instance) -> None:  # one machine
        with self._lock:
            if self._is_up:
                self.sshd.kill()
                lose_power(self.sshd.home)
                self._is_up = False

    def metadata_changed(self, instance: Instance, project_items: dict[str, str]) -> None:
        items = instance.metadata.items
        if self.os_login is not None and (project_items | items).get("enable-oslogin", "").upper() == "TRUE":
            self._allow(self.os_login.keys)
            return
        self._allow(keys_named(self.sshd.user, items, project_items))

    def _allow(self, allowed: list[str]) -> None:
        (self.sshd.folder / "authorized_keys").write_text("".join(f"{key}\n" for key in allowed))


def lose_power(home: Path) -> None:
    """SIGKILL to whatever was started over the server whose home that is: jobs, supervisors, a guard."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def keys_named(user: str, items: dict[str, str], project_items: dict[str, str]) -> list[str]:
    """Those that a VM's metadata, and its project's unless that is blocked, lets in as that user."""
    texts = [items.get("ssh-keys", "")]
    if items.get("block-project-ssh-keys", "").upper() != "TRUE":
        texts.append(project_items.get("ssh-keys", ""))
    lines = [line for text in texts for line in text.splitlines()]
    return [key for line in lines if (key := allowed_key(line, user))]


def allowed_key(line: str, user: str) -> str:
    """The key of `user:type base64 comment`, or of one with `google-ssh {"userName":…,"expireOn":…}`; "" if expired."""
    name, _, key = line.partition(":")
    if name != user:
        return ""
    if " google-ssh {" in key:
        said = json.loads(key[key.index("{") :])
        if datetime.fromisoformat(said["expireOn"]) < datetime.now(UTC):
            return ""
    return " ".join(key.split()[:2])
