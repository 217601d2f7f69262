"""A VM of the bench with a workspace in it: started and stopped by the API, reached over its own sshd."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.cloud.compute_state import Instance
from bench.cloud.guest_agent import SshdGuest, lose_power
from bench.sshd import Sshd

from remote.gce.host import GceHost
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from support.machines.gce_here import NAME, Gce, gce_here
from support.warm.python import warm
from t2v_core.workspace import Workspace

ALIAS = "compute.4711001"


@dataclass
class VmHere:
    """here, there: the workspaces; the one there is the VM's, whose Python has the engine already"""

    gce: Gce
    sshd: Sshd
    here: Workspace
    there: Path

    def add(self, status: str = "TERMINATED") -> Instance:
        instance = self.gce.add()
        instance.metadata.items["enable-guest-attributes"] = "TRUE"
        if status == "RUNNING":
            self.gce.cloud.bring_up(instance)
        return instance

    @property
    def settings(self) -> HostSettings:
        self.sshd.port = self.sshd.port or free_port_of(self.sshd)
        return HostSettings(provider="gcloud", port=self.sshd.port, workdir=str(self.there), python=warm())

    @property
    def known_hosts(self) -> KnownHosts:
        return KnownHosts(self.gce.home / ".config/t2v/known_hosts")

    def host(self) -> GceHost:
        return GceHost(NAME, self.settings, self.gce.vm, known_hosts=self.known_hosts)

    def write_settings(self, *lines: str) -> None:
        self.gce.write_settings(
            self.here.root, f"port = {self.settings.port}", f'workdir = "{self.there}"', f'python = "{warm()}"',
            *lines,
        )  # fmt: skip

    def t2v(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """The command line, with the variables of the bench and these."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_", "CLOUDSDK_"))}
        return subprocess.Popen(
            [warm(), "-m", "t2v_tui.cli.main", *words], cwd=self.here.root,
            env=kept | self.gce.environment | {"XDG_CONFIG_HOME": str(self.gce.home / ".config")} | environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ran(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        child = self.t2v(*words, **environment)
        out, err = child.communicate(timeout=120)
        return subprocess.CompletedProcess(words, child.returncode, out, err)


def free_port_of(sshd: Sshd) -> int:
    """Its own, from now on; it listens there when the VM runs."""
    from bench.sshd import free_port

    sshd.port = free_port()
    return sshd.port


@contextmanager
def comes_up_slowly(vm: VmHere) -> Iterator[Instance]:
    """A VM whose start, once asked, stands at STAGING until the context ends; it runs then."""
    go, cloud = threading.Event(), vm.gce.cloud
    come_up, instance = cloud.bring_up, vm.add()

    def bring_up(one: Instance) -> None:
        cloud.show(one, "STAGING")
        go.wait(60)
        come_up(one)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloud, "bring_up", bring_up)
        try:
            yield instance
        finally:
            go.set()


@contextmanager
def vm_here(folder: Path) -> Iterator[VmHere]:
    """What a test started over the VM's sshd, a guard as well, ends with the context."""
    for name in ("here", "there", "home"):
        (folder / name).mkdir()
    sshd = Sshd(folder / "sshd")
    try:
        with gce_here(folder / "home", SshdGuest(sshd)) as gce:
            yield VmHere(gce, sshd, Workspace(folder / "here"), folder / "there")
    finally:
        sshd.kill()
        lose_power(sshd.home)


@pytest.fixture(scope="module")
def vm_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VmHere]:
    """Take it as `vm_module`."""
    with vm_here(tmp_path_factory.mktemp("vm")) as vm:
        yield vm


@pytest.fixture
def vm_as_new(vm_module: VmHere, monkeypatch: pytest.MonkeyPatch) -> VmHere:
    """Take it as `vm`. The cloud has no VM yet, and nothing of this user's is read or written."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(vm_module.gce.home))
    vm_module.gce.reset()
    vm_module.write_settings()
    return vm_module
