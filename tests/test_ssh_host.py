"""A host over SSH: verified before anything is said to it, and missed within 15 s when it is gone.

The server is OpenSSH's own on loopback, the faults come from a proxy before it. What runs at the far end is an echo
that greets as the agent does, so that these promises are about the link alone.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.chaos import ChaosProxy
from bench.sshd import Sshd, make_key

from remote import loader
from remote.agent.bundle import bundle
from remote.errors import AuthFailed, HostKeyChanged, HostKeyUnknown, HostUnreachable, LinkLost, RemoteError
from remote.host_keys import KnownHosts, fingerprint
from remote.host_settings import HostSettings
from remote.ssh import SSHHost

ECHO = """
import json, sys

def main(arguments):
    print(json.dumps({"agent": "echo", "python": sys.version.split()[0]}), flush=True)
    for line in sys.stdin.buffer:
        size = int(line)
        sys.stdout.buffer.write(b"x" * size)
        sys.stdout.buffer.flush()
"""
NOWHERE = Path("/nonexistent/config")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[ChaosProxy]:
    with ChaosProxy(("127.0.0.1", sshd.port)) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo/__init__.py").touch()
    (tmp_path / "echo/__main__.py").write_text(ECHO)
    monkeypatch.setattr(loader, "AGENT", tmp_path / "echo")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    loader.agent_source.cache_clear()
    yield
    loader.agent_source.cache_clear()


def host_at(port: int, sshd: Sshd, known: KnownHosts, **settings: object) -> SSHHost:
    values = {"address": "127.0.0.1", "port": port, "identity": sshd.client_key, "user": sshd.user} | settings
    return SSHHost("vm", HostSettings.model_validate(values), known_hosts=known, config=NOWHERE)


@pytest.fixture
def host(proxy: ChaosProxy, sshd: Sshd, tmp_path: Path) -> Iterator[SSHHost]:
    """Reached through the proxy, its key pinned."""
    known = KnownHosts(tmp_path / "known_hosts")
    host = host_at(proxy.port, sshd, known)
    known.pin(host.key_name, [sshd.public_host_key])
    yield host
    host.close()


def read_exactly(channel: object, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += channel.read(size - len(data), 20)
    return data


# Whom it talks to


def test_an_unknown_host_is_refused_with_its_fingerprint(proxy: ChaosProxy, sshd: Sshd, tmp_path: Path) -> None:
    host = host_at(proxy.port, sshd, KnownHosts(tmp_path / "none"))
    with pytest.raises(HostKeyUnknown) as caught:
        host.open(["serve"])
    assert caught.value.fingerprint == fingerprint(sshd.public_host_key) in caught.value.message
    assert (caught.value.shown, caught.value.name) == (sshd.public_host_key, host.key_name)
    assert "t2v host trust" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_changed_key_is_refused_with_both_prints(host: SSHHost, sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    host.known_hosts.pin(host.key_name, [other])
    with pytest.raises(HostKeyChanged) as caught:
        host.open(["serve"])
    assert fingerprint(other) in caught.value.message
    assert fingerprint(sshd.public_host_key) in caught.value.message


@pytest.mark.parametrize("is_pinned_too", [True, False])
def test_a_revoked_key_is_refused(host: SSHHost, sshd: Sshd, *, is_pinned_too: bool) -> None:
    pinned = f"{host.key_name} {sshd.public_host_key}\n" if is_pinned_too else ""
    host.known_hosts.path.write_text(f"{pinned}@revoked * {sshd.public_host_key}\n")
    with pytest.raises(HostKeyChanged, match="revoked"):
        host.open(["serve"])


def test_a_key_is_pinned_under_a_name_that_outlives_the_address(proxy: ChaosProxy, sshd: Sshd, tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "known_hosts")
    known.pin("compute.4711", [sshd.public_host_key])
    for port in (proxy.port, sshd.port):
        host = host_at(port, sshd, known, key_name="compute.4711")
        assert host.open(["serve"]).greeting["agent"] == "echo"
        host.close()


def test_pinning_a_host_leaves_the_others_and_what_is_revoked(tmp_path: Path, sshd: Sshd) -> None:
    known = KnownHosts(tmp_path / "known_hosts")
    known.path.write_text(f"# mine\n@revoked * {sshd.public_host_key[:-4]}AAAA\nother {sshd.public_host_key}\n")
    known.pin("vm", [sshd.public_host_key])
    known.pin("vm", [sshd.public_host_key])
    assert len(known.path.read_text().splitlines()) == 3
    assert known.pinned("other") == known.pinned("vm") == [sshd.public_host_key]
    assert known.pinned("nobody") == []


def test_a_key_that_the_host_does_not_know_is_said_so(host: SSHHost, sshd: Sshd, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    stranger = host_at(host.route.port, sshd, host.known_hosts, identity=tmp_path / "stranger")
    with pytest.raises(AuthFailed, match=f"does not let {sshd.user} in"):
        stranger.open(["serve"])


# What is not there


def test_a_closed_port_and_a_silent_server_are_unreachable(sshd: Sshd, proxy: ChaosProxy, tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "known_hosts")
    with pytest.raises(HostUnreachable, match="refuses the connection"):
        host_at(1, sshd, known).open(["serve"])
    with pytest.raises(HostUnreachable, match=r"no machine named nowhere\.invalid"):
        host_at(1, sshd, known, address="nowhere.invalid").open(["serve"])
    proxy.rules.is_stalled = True
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match="does not speak SSH"):
        host_at(proxy.port, sshd, known).open(["serve"])
    assert time.monotonic() - began < 15


def test_a_host_without_python_is_said_so(host: SSHHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remote.ssh.command", lambda _: "no-such-program-here")
    with pytest.raises(RemoteError, match="has no python3"):
        host.open(["serve"])


# The agent's way there


def test_the_agent_travels_once_and_lies_under_its_hash(host: SSHHost, sshd: Sshd) -> None:
    folder = sshd.home / f".cache/t2v/agent-{loader.agent_sha256()}"
    shutil.rmtree(folder, ignore_errors=True)
    host.open(["serve"])
    assert bundle(folder) == loader.agent_source()
    cached = folder / "__main__.py"
    made = cached.stat().st_mtime_ns
    host.open(["serve"])
    assert cached.stat().st_mtime_ns == made
    cached.write_bytes(b"torn")
    assert host.open(["serve"]).greeting["agent"] == "echo"
    assert bundle(folder) == loader.agent_source()


def test_what_a_login_shell_prints_first_is_passed_over(host: SSHHost, sshd: Sshd) -> None:
    (sshd.home / ".bashrc").write_text('echo "Welcome to the machine"; echo need coffee\n')
    try:
        channel = host.open(["serve"])
        channel.write(b"3\n")
        assert read_exactly(channel, 3) == b"xxx"
    finally:
        (sshd.home / ".bashrc").unlink()


# When the link goes


def test_a_cut_is_link_lost_at_once_and_the_next_call_connects_again(host: SSHHost, proxy: ChaosProxy) -> None:
    channel = host.open(["serve"])
    proxy.cut()
    began = time.monotonic()
    with pytest.raises(LinkLost, match="the connection to vm is lost"):
        channel.read(1, 30)
    assert time.monotonic() - began < 2
    again = host.open(["serve"])
    again.write(b"2\n")
    assert read_exactly(again, 2) == b"xx"


def test_killed_sessions_are_link_lost_and_not_an_end(host: SSHHost, sshd: Sshd) -> None:
    channel = host.open(["serve"])
    sshd.kill()
    try:
        with pytest.raises(LinkLost):
            channel.read(1, 30)
    finally:
        sshd.start()


@pytest.mark.slow
def test_a_stall_without_a_reset_is_missed_within_15_seconds(host: SSHHost, proxy: ChaosProxy) -> None:
    channel = host.open(["serve"])
    time.sleep(0.2)
    proxy.rules.is_stalled = True
    began = time.monotonic()
    with pytest.raises(LinkLost, match="has not answered for 9 s"):
        channel.read(1, 60)
    assert time.monotonic() - began <= 15


@pytest.mark.slow
def test_a_download_at_full_speed_is_no_false_alarm(host: SSHHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """With patience of a second and an ask every half second, over 400 MB."""
    monkeypatch.setattr("remote.link.PAUSE_S", 0.5)
    monkeypatch.setattr("remote.link.PATIENCE_S", 2.0)
    channel = host.open(["serve"])
    size = 400_000_000
    channel.write(b"%d\n" % size)
    arrived = 0
    while arrived < size:
        arrived += len(channel.read(1 << 20, 20))
    assert arrived == size
    assert host.connect().is_up


def test_many_conversations_share_one_connection(host: SSHHost, proxy: ChaosProxy) -> None:
    channels = [host.open(["serve"]) for _ in range(6)]
    answers: list[bytes] = [b""] * len(channels)

    def talk(number: int) -> None:
        channels[number].write(b"%d\n" % (number + 1000))
        answers[number] = read_exactly(channels[number], number + 1000)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(len(channels))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [len(answer) for answer in answers] == [number + 1000 for number in range(len(channels))]
    assert len(proxy._pairs) == 1
