"""A host over real SSH behind a proxy that misbehaves, with a workspace at either end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bench.chaos import ChaosProxy
from bench.cloud.guest_agent import lose_power
from bench.sshd import Sshd

from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings, read_hosts
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from remote.jobs.spool import Spool
from remote.replies.job_row import JobRow
from support.hosts.agent_here import wait_until
from support.warm.python import warm
from t2v_core.specs import ShapesSpec
from t2v_core.workspace import Workspace

NOWHERE = Path("/nonexistent/config")
ANY_SPEC = ShapesSpec()


@dataclass
class Far:
    """here, there: the workspaces; what is typed here runs there, under the name `vm`."""

    sshd: Sshd
    proxy: ChaosProxy
    here: Workspace
    there: Path

    @property
    def known_hosts(self) -> KnownHosts:
        return KnownHosts(self.config / "t2v/known_hosts")

    @property
    def config(self) -> Path:
        """What XDG_CONFIG_HOME is for a command line."""
        return self.here.root.parent / "config"

    def host(self) -> SSHHost:
        """A connection of its own, as another process would have."""
        settings = HostSettings(
            address="127.0.0.1", port=self.proxy.port, user=self.sshd.user, identity=self.sshd.client_key,
            workdir=str(self.there), python=warm(), **self._transfer(),
        )  # fmt: skip
        return SSHHost("vm", settings, known_hosts=self.known_hosts, config=NOWHERE)

    def _transfer(self) -> dict[str, Any]:
        """How files travel, as t2v.toml here says."""
        said = read_hosts(self.here).get("vm")
        return {} if said is None else {"transfer": said.transfer, "bucket": said.bucket}

    def pin(self) -> None:
        self.known_hosts.pin(self.host().key_name, [self.sshd.public_host_key])

    @contextmanager
    def jobs(self) -> Iterator[HostJobs]:
        with HostJobs(self.host(), self.here) as jobs:
            yield jobs

    def spool(self, job: str) -> Spool:
        return Spool.of(self.here, "vm", job)

    def directory(self, job: str) -> Path:
        return self.there / "jobs" / job

    def begin(self, jobs: HostJobs, program: str, *arguments: str) -> str:
        """Run a Python program there as a job, and wait until it has said something."""
        job = jobs.submit("shapes", ANY_SPEC, argv=[sys.executable, "-c", program, *arguments]).job
        wait_until(lambda: (self.directory(job) / "log").exists() and (self.directory(job) / "log").stat().st_size > 0)
        return job

    def go(self) -> None:
        """What programs that wait are waiting for."""
        (self.there / "go").touch()

    def end_of(self, jobs: HostJobs, job: str) -> JobRow:
        wait_until((self.directory(job) / "exit.json").exists)
        return jobs.row(job)

    def write_settings(self) -> None:
        """`[host.vm]` for a command line."""
        (self.here.root / "t2v.toml").write_text(
            f'[host.vm]\naddress = "127.0.0.1"\nport = {self.proxy.port}\nidentity = "{self.sshd.client_key}"\n'
            f'user = "{self.sshd.user}"\nworkdir = "{self.there}"\npython = "{warm()}"\n'
        )

    def t2v(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """The command line in the workspace here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_"))}
        kept |= {"XDG_CONFIG_HOME": str(self.config), "HOME": str(self.config)}
        return subprocess.Popen(
            [warm(), "-m", "t2v_tui.cli.main", *arguments], cwd=self.here.root, env=kept,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ran(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same, run to its end."""
        child = self.t2v(*arguments)
        out, err = child.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, child.returncode, out, err)


@contextmanager
def far_host(folder: Path) -> Iterator[Far]:
    """A server and a proxy that end with the context, and so does whatever a test left there, also when it failed."""
    for name in ("here", "there", "config"):
        (folder / name).mkdir(parents=True)
    sshd = Sshd(folder / "sshd")
    sshd.start()
    try:
        with ChaosProxy(("127.0.0.1", sshd.port)) as proxy:
            far = Far(sshd, proxy, Workspace(folder / "here"), folder / "there")
            far.pin()
            yield far
    finally:
        sshd.kill()
        lose_power(sshd.home)


def seen_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead link is noticed within a second or two instead of thirteen."""
    monkeypatch.setattr("remote.hosts.ssh_connection.PAUSE_S", 0.3)
    monkeypatch.setattr("remote.hosts.ssh_connection.PATIENCE_S", 1.5)
