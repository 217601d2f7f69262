"""A real machine with a workspace at either end: what is typed here runs there, as `me` (sudo) or `plain` (none)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import Machine

from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from support.house.needs import needs
from support.warm.python import warm
from t2v_core.workspace import Workspace

NOWHERE = Path("/nonexistent/config")
WORKDIR = "~/text2video"


@dataclass
class MachineHere:
    """here: this side's workspace; `[host.me]` and `[host.plain]` in its t2v.toml are the two users there."""

    machine: Machine
    here: Workspace

    @property
    def config(self) -> Path:
        """What HOME and XDG_CONFIG_HOME are for a command line."""
        return self.here.root.parent / "config"

    @property
    def known_hosts(self) -> KnownHosts:
        return KnownHosts(self.config / "t2v/known_hosts")

    @property
    def identity(self) -> Path:
        return self.machine.made / "id"

    def settings(self, user: str, **more: object) -> HostSettings:
        said = {"address": "127.0.0.1", "port": self.machine.port, "user": user, "identity": self.identity}
        return HostSettings.model_validate({**said, "workdir": WORKDIR, "python": sys.executable, **more})

    def host(self, user: str = "me", **more: object) -> SSHHost:
        """A connection of its own, as another process would have."""
        return SSHHost(user, self.settings(user, **more), known_hosts=self.known_hosts, config=NOWHERE)

    def pin(self) -> None:
        self.known_hosts.pin(self.host().key_name, [self.machine.public_host_key])

    @contextmanager
    def jobs(self, user: str = "me") -> Iterator[HostJobs]:
        with HostJobs(self.host(user), self.here) as jobs:
            yield jobs

    def home(self, user: str = "me") -> Path:
        return self.machine.path(f"/home/{user}")

    def there(self, user: str = "me") -> Path:
        """The workspace there, as files of this machine."""
        return self.home(user) / "text2video"

    def directory(self, job: str, user: str = "me") -> Path:
        return self.there(user) / "jobs" / job

    def add_bare(self, name: str) -> None:
        """A further host in t2v.toml: `me`, in a workspace of that name with nothing in it, by the machine's Python."""
        section = [f"[host.{name}]", 'address = "127.0.0.1"', f"port = {self.machine.port}", 'user = "me"',
                   f'identity = "{self.identity}"', f'workdir = "~/{name}"']  # fmt: skip
        with (self.here.root / "t2v.toml").open("a") as settings:
            settings.write("\n".join(section) + "\n")

    def write_settings(self, *lines: str) -> None:
        """lines: more of each host's section"""
        sections = [
            [f"[host.{user}]", 'address = "127.0.0.1"', f"port = {self.machine.port}", f'identity = "{self.identity}"',
             f'user = "{user}"', f'workdir = "{WORKDIR}"', f'python = "{sys.executable}"', *lines]
            for user in ("me", "plain")
        ]  # fmt: skip
        (self.here.root / "t2v.toml").write_text("\n".join(line for section in sections for line in section) + "\n")

    def t2v(
        self, *words: str, stdout: int = subprocess.PIPE, checkout: Path | None = None
    ) -> subprocess.Popen[str]:  # fmt: skip
        """The command line in the workspace here. checkout: whose t2v it is, if not this one"""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_"))}
        kept |= {"XDG_CONFIG_HOME": str(self.config), "HOME": str(self.config)}
        kept |= {"PYTHONPATH": str(checkout)} if checkout else {}
        return subprocess.Popen(
            [warm(), "-m", "t2v_tui.cli.main", *words], cwd=self.here.root, env=kept,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ran(
        self, *words: str, timeout_s: float = 240.0, checkout: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same, run to its end."""
        child = self.t2v(*words, checkout=checkout)
        out, err = child.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(words, child.returncode, out, err)


def needs_a_machine() -> None:
    needs("root", "debootstrap", "systemd-nspawn", "ssh", "lent-python")


@contextmanager
def machine_here(
    folder: Path, environment: Mapping[str, str] | None = None, *, start: bool = True
) -> Iterator[MachineHere]:
    """A machine that is up, thrown away with the context."""
    needs_a_machine()
    for name in ("here", "config"):
        (folder / name).mkdir(parents=True)
    # Not below `folder`: pytest removes the oldest of those, and what is mounted there cannot be removed.
    machine = Machine(Path(tempfile.mkdtemp(prefix="t2v-machine-")), environment or {})
    try:
        one = MachineHere(machine, Workspace(folder / "here"))
        one.pin()
        one.write_settings()
        if start:
            machine.start()
        yield one
    finally:
        machine.close()
