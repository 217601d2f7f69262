"""A host with nothing on it, and a t2v that is small enough to install there in a second."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sshd import Sshd

from remote.hosts.agent_client import Agent
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.setup.release import Release
from support.hosts.agent_here import DEADLINE_S
from t2v_core.workspace import Workspace


@dataclass
class Bare:
    """A home folder with nothing in it but pip's settings, behind a server; here: our workspace."""

    sshd: Sshd
    here: Workspace
    checkout: Path

    @property
    def there(self) -> Path:
        return self.sshd.home / "text2video"

    def host(self, port: int = 0, **settings: Any) -> SSHHost:
        known = KnownHosts(self.here.root.parent / "config/t2v/known_hosts")
        values = {"address": "127.0.0.1", "port": port or self.sshd.port, "user": self.sshd.user} | settings
        host = SSHHost(
            "vm", HostSettings(identity=self.sshd.client_key, **values), known_hosts=known, config=Path("/nonexistent")
        )
        known.pin(host.key_name, [self.sshd.public_host_key])
        return host

    def write_settings(self) -> None:
        self.host().close()
        (self.here.root / "t2v.toml").write_text(
            f'[host.vm]\naddress = "127.0.0.1"\nport = {self.sshd.port}\nidentity = "{self.sshd.client_key}"\n'
            f'user = "{self.sshd.user}"\n'
        )

    def t2v(self, *arguments: str) -> subprocess.Popen[str]:
        """The command line of the checkout that is brought."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_"))}
        config = self.here.root.parent / "config"
        kept |= {"XDG_CONFIG_HOME": str(config), "HOME": str(config), "PYTHONPATH": str(self.checkout)}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "t2v_tui.cli.main", *arguments], cwd=self.here.root, env=kept,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def standing(self, release: Release) -> dict[str, Any]:
        with Agent(self.host().open(["serve"]), "far") as one:
            python = ["~/text2video/.t2v/venv/bin/python"]
            sha256 = release.requirements_sha256
            return one.call(
                "standing", workspace="~/text2video", python=python, requirements_sha256=sha256, timeout_s=DEADLINE_S
            )
