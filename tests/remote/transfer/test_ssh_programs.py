"""Bulk goes by OpenSSH's own programs; where they do not get there, t2v's own connection carries it all the same."""

from __future__ import annotations

import os
import random
import shlex
import shutil
from pathlib import Path

import pytest
from support.hosts.far_host import Far
from support.hosts.transfers import KIB, cleared_far, notes, pulled, pushed, same_tree, server_of_module
from support.house.needs import needs

from remote.errors import HostUnreachable
from remote.hosts.ssh import SSHHost
from remote.transfer.links.bulk_host import BulkHost, Programs
from remote.transfer.links.ssh_program import SshProgram
from remote.transfer.links.ssh_way import run_argv, ssh_way

server, far = server_of_module, cleared_far
BIG = 3000 * KIB


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `ssh` before the real one that notes each connection it is to make, and makes it."""
    return put_before(tmp_path, monkeypatch, 'exec "$real" "$@"')


def put_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> Path:
    """does: what it does for a connection, in sh; what it is asked of the configuration is the real one's to say"""
    needs("ssh")
    log, real = tmp_path / "called", shutil.which("ssh")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/ssh"
    program.write_text(
        f'#!/bin/sh\nreal={real}\n[ "$1" = -G ] && exec "$real" "$@"\necho "$@" >> {shlex.quote(str(log))}\n{does}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    log.touch()
    return log


def write_big(root: Path) -> None:
    (root / "data").mkdir()
    (root / "data/big.bin").write_bytes(random.Random(1).randbytes(BIG))


def connections(log: Path) -> int:
    return len(log.read_text().splitlines())


def test_both_ways_the_bytes_are_carried_by_ssh(far: Far, called: Path) -> None:
    write_big(far.here.root)
    (far.there / "outputs").mkdir()
    (far.there / "outputs/film.mp4").write_bytes(random.Random(2).randbytes(BIG))
    with far.jobs() as jobs:
        pushed(jobs, "data")
        up = connections(called)
        pulled(jobs, "videos")
    assert up > 0
    assert connections(called) > up
    assert same_tree(far.here.root / "data", far.there / "data")
    assert same_tree(far.here.root / "outputs", far.there / "outputs")


WAYS = {
    "refuses": "echo 'Bad configuration option' >&2; exit 255",
    "says nothing and ends": "exit 0",
    "says something else": "echo hello; exit 3",
}


@pytest.mark.parametrize("does", WAYS.values(), ids=WAYS)
def test_an_ssh_that_does_not_get_there_is_tried_and_left(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    log = put_before(tmp_path, monkeypatch, does)
    write_big(far.here.root)
    with far.jobs() as jobs:
        rows = pushed(jobs, "data")
    assert connections(log) > 0
    assert notes(rows) == []
    assert same_tree(far.here.root / "data", far.there / "data")


def test_without_an_ssh_program_all_goes_as_before(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_big(far.here.root)
    monkeypatch.setattr("remote.transfer.links.bulk_host.shutil.which", lambda _: None)
    with far.jobs() as jobs:
        pushed(jobs, "data")
    assert same_tree(far.here.root / "data", far.there / "data")


def test_a_key_that_is_not_the_pinned_one_is_refused_by_ssh_too(far: Far) -> None:
    needs("ssh")
    other = far.sshd.folder / "other"
    from bench.sshd import make_key

    make_key(other)
    pinned = far.known_hosts.path.read_text()
    key = " ".join(other.with_suffix(".pub").read_text().split()[:2])
    host = far.host()
    far.known_hosts.path.write_text(f"{host.key_name} {key}\n")
    try:
        with pytest.raises(HostUnreachable, match=r"ssh does not get to vm: \w+"):
            SshProgram(run_argv(ssh_way(host), host.line(["send"])), name="vm")
    finally:
        far.known_hosts.path.write_text(pinned)
        host.close()


def test_a_host_that_is_gone_is_told_by_t2vs_own_connection(far: Far) -> None:
    settings = far.host().settings.model_copy(update={"port": 1})
    bulk = BulkHost(SSHHost("vm", settings, known_hosts=far.known_hosts, config=Path("/nonexistent")), Programs())
    with pytest.raises(HostUnreachable, match="refuses the connection"):
        bulk.open(["send"])
    bulk.close()
