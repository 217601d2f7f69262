"""One pool of hosts for the command line and the app: each opened once, by name, and closed with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remote.hosts.host import LocalHost
from remote.hosts.settings import LOCAL
from remote.jobs.host_pool import HostPool
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace

FILE = '[host.vm]\naddress = "10.0.0.1"\ntransfer = "bucket"\nbucket = "gs://mine/files"\n'


class Counted(LocalHost):
    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Pool(HostPool):
    """Its hosts are counted."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.made: list[Counted] = []

    def host(self, name: str) -> Counted:  # any name is this machine
        self.made.append(Counted(self.workspace))
        return self.made[-1]


def test_a_host_is_opened_once_whoever_asks_at_the_same_moment_and_closed_with_the_pool(tmp_path: Path) -> None:
    with Pool(Workspace(tmp_path)) as hosts, ThreadPoolExecutor(8) as threads:
        clients = set(threads.map(lambda _: hosts.jobs("vm"), range(50)))
        assert (len(clients), len(hosts.made), hosts.made[0].closed) == (1, 1, 0)
    assert hosts.made[0].closed == 1


def test_its_names_are_this_machine_and_those_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text(FILE)
    with HostPool(Workspace(tmp_path)) as hosts:
        assert hosts.names == [LOCAL, "vm"]
        with pytest.raises(InvalidRequest, match="has no host 'mv'"):
            hosts.jobs("mv")


def test_a_host_carries_its_settings_so_that_nobody_reads_them_again_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "t2v.toml").write_text(FILE)
    with HostPool(Workspace(tmp_path)) as hosts:
        host = hosts.jobs("vm").host
        (tmp_path / "t2v.toml").unlink()
        assert (host.settings.transfer, host.settings.bucket) == ("bucket", "gs://mine/files")
        assert (hosts.host(LOCAL).settings.transfer, hosts.host(LOCAL).settings.bucket) == ("auto", None)
