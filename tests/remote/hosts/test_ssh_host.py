"""A host over SSH: verified before anything is said to it, and missed within 15 s when it is gone.

The server is OpenSSH's own on loopback, the faults come from a proxy before it. What runs at the far end is an echo
that greets as the agent does, so that these promises are about the link alone.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from bench.chaos import ChaosProxy
from bench.sshd import Sshd, make_key
from support.hosts.agent_here import agent_of_the_test
from support.house.under_load import slowed

from remote.agent.base.bundle import bundle
from remote.errors import AuthFailed, HostKeyChanged, HostKeyUnknown, HostUnreachable, HungUp, LinkLost
from remote.hosts import agent_upload as loader
from remote.hosts.known_hosts import KnownHosts, fingerprint
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost

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
def echo(tmp_path: Path) -> Iterator[None]:
    with agent_of_the_test(tmp_path, ECHO):
        yield


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
    assert len(known.path.read_text().splitlines()) == 4
    assert known.pinned("other") == known.pinned("vm") == [sshd.public_host_key]
    assert known.pinned("nobody") == []


@pytest.mark.parametrize(("piece", "pause_s"), [(b"x" * 65536, 0.0), (b"x", 0.2), (b"line\n" * 100, 0.0)])
def test_a_server_that_never_comes_to_its_banner_has_a_deadline(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: bytes, pause_s: float
) -> None:
    """Nor does what it sends meanwhile fill the memory."""
    monkeypatch.setattr("remote.hosts.ssh_connection.BANNER_TIMEOUT_S", 3.0)
    closed, sent = threading.Event(), [0]

    def serve() -> None:
        while not closed.is_set():
            with suppress(OSError), listening.accept()[0] as connection:
                while not closed.wait(pause_s):
                    connection.sendall(piece)
                    sent[0] += len(piece)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        server = threading.Thread(target=serve)
        server.start()
        try:
            with pytest.raises(HostUnreachable, match="does not speak SSH as it should"):
                host_at(listening.getsockname()[1], sshd, KnownHosts(tmp_path / "known_hosts")).open(["serve"])
        finally:
            closed.set()
            server.join()
    assert sent[0] < 50_000_000


def test_a_line_that_was_cut_off_counts_for_nothing_and_is_named(host: SSHHost, sshd: Sshd) -> None:
    path, whole = host.known_hosts.path, host.known_hosts.path.read_text()
    for size in range(1, len(whole) - 1):
        path.write_text(f"other {sshd.public_host_key}\n{whole[:size]}")
        assert host.keys.taken == []
        assert host.known_hosts.pinned("other") == [sshd.public_host_key]
    path.write_bytes(b"\xff\xfe \x00\n" + whole[:-20].encode())
    with pytest.raises(HostKeyUnknown) as caught:
        host.open(["serve"])
    assert f"lines 1, 2 of {path} cannot be read" in caught.value.hint
    host.known_hosts.pin(host.key_name, [sshd.public_host_key])
    assert host.open(["serve"]).greeting["agent"] == "echo"


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
    assert time.monotonic() - began < slowed(15)


@pytest.fixture
def stranger(sshd: Sshd, tmp_path: Path) -> Iterator[Callable[[Callable[[socket.socket], object]], SSHHost]]:
    """A host at a server of the test's own, which does with each connection what it is told to."""
    with ExitStack() as stack:

        def make(does: Callable[[socket.socket], object]) -> SSHHost:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with suppress(OSError):
                    while True:
                        connection = listening.accept()[0]
                        with connection, suppress(OSError):
                            does(connection)

            threading.Thread(target=serve, daemon=True).start()
            return host_at(listening.getsockname()[1], sshd, KnownHosts(tmp_path / "known_hosts"))

        yield make


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "before its SSH banner; it said: HTTP/1.1 400 Bad Request$"),
        (b"\r\n\r\nNot allowed at this time\r\n", "before its SSH banner; it said: Not allowed at this time$"),
        (b"Exceeded MaxStartups\r\n", "before its SSH banner; it said: Exceeded MaxStartups$"),
        (b"\xff\x00\x1b[31m", "before its SSH banner; it said: "),
        (b"", "hangs up without a word$"),
    ],
)
def test_what_a_server_says_in_the_place_of_a_banner_is_told_and_it_is_asked_again(
    stranger: Callable[..., SSHHost], said: bytes, sentence: str
) -> None:
    """It may have been one login too many at a time. What we sent is read by nobody, so it ends with a reset."""
    asked = []

    def does(connection: socket.socket) -> None:
        asked.append(connection.recv(1))
        connection.sendall(said)

    with pytest.raises(HungUp, match=sentence) as caught:
        stranger(does).open(["serve"])
    assert len(asked) == 3
    assert "\x1b" not in caught.value.message


def test_a_server_that_falls_silent_behind_its_banner_is_said_so(
    stranger: Callable[..., SSHHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remote.hosts.ssh_connection.BANNER_TIMEOUT_S", 1.0)
    monkeypatch.setattr("remote.hosts.ssh_connection.HANDSHAKE_TIMEOUT_S", 2.0)

    def does(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-x\r\n")
        while connection.recv(65536):
            pass

    with pytest.raises(HostUnreachable, match=r"as it should: silence for \d+ s"):
        stranger(does).open(["serve"])


@pytest.mark.parametrize(
    ("setting", "what", "ours"),
    [
        ("Ciphers chacha20-poly1305@openssh.com", "cipher", "aes128-gcm@openssh.com as well: Ciphers"),
        ("Ciphers aes256-ctr\nMACs umac-128-etm@openssh.com", "mac", "hmac-sha2-256-etm@openssh.com as well: MACs"),
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", "kex algorithm", "curve25519-sha256@libssh.org as well"),
    ],
)
def test_a_server_with_which_we_have_no_algorithm_in_common_is_told_what_it_lacks(
    tmp_path: Path, setting: str, what: str, ours: str
) -> None:
    server = Sshd(tmp_path / "sshd", settings=setting)
    server.start()
    try:
        with pytest.raises(HostUnreachable, match=f"and t2v have no {what} in common") as caught:
            host_at(server.port, server, KnownHosts(tmp_path / "known_hosts")).open(["serve"])
        assert ours in caught.value.hint
        # It is so: with the one that is named we get in.
        server.stop()
        server.settings = f"{setting},{ours.split(maxsplit=1)[0]}"
        server.start()
        host = host_at(server.port, server, KnownHosts(tmp_path / "known_hosts"))
        host.known_hosts.pin(host.key_name, [server.public_host_key])
        assert host.open(["serve"]).greeting
        host.close()
    finally:
        server.kill()


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


# When the link goes


def test_a_cut_is_link_lost_at_once_and_the_next_call_connects_again(host: SSHHost, proxy: ChaosProxy) -> None:
    channel = host.open(["serve"])
    proxy.cut()
    began = time.monotonic()
    with pytest.raises(LinkLost, match="the connection to vm is lost"):
        channel.read(1, 30)
    assert time.monotonic() - began < slowed(2)
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
    assert time.monotonic() - began <= slowed(15)


@pytest.mark.slow
def test_a_download_at_full_speed_is_no_false_alarm(host: SSHHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """With patience of a second and an ask every half second, over 400 MB."""
    monkeypatch.setattr("remote.hosts.ssh_connection.PAUSE_S", 0.5)
    monkeypatch.setattr("remote.hosts.ssh_connection.PATIENCE_S", 2.0)
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
