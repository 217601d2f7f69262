"""What a guard takes for work over SSH: sessions of a real sshd, their terminals, commands and conversations."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from bench.cloud.guest_agent import lose_power
from bench.sshd import Sshd
from support.hosts.guarded import HOUR, Guarded
from support.house.needs import needs

from remote.agent.guard.signs import pids
from remote.hosts.agent_upload import command, upload


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    server.start()
    yield server
    server.kill()
    lose_power(server.home)


@pytest.fixture
def ssh(sshd: Sshd) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Runs the system's own client, as somebody at a terminal would."""
    with ExitStack() as stack:

        def run(*arguments: str) -> subprocess.Popen[bytes]:
            argv = [
                needs("ssh"), "-F", "/dev/null",
                "-p", str(sshd.port), "-i", str(sshd.client_key), "-o", "BatchMode=yes",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", *arguments,
            ]  # fmt: skip
            client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            stack.callback(client.wait)
            stack.callback(client.kill)
            return client

        yield run


def below(pid: int) -> list[int]:
    """The processes that descend from one."""
    parents = {}
    for one in pids():
        with suppress(OSError):
            parents[one] = int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1])
    found, added = set(), {pid}
    while added:
        found |= added
        added = {child for child, parent in parents.items() if parent in added} - found
    return sorted(found)


def says(client: subprocess.Popen[bytes], word: bytes) -> None:
    assert client.stdout is not None
    assert word in client.stdout.readline()


def test_a_terminal_over_ssh_is_work_while_it_is_used_and_not_when_its_laptop_sleeps(
    vm: Guarded, sshd: Sshd, ssh: Callable[..., subprocess.Popen[bytes]]
) -> None:
    client = ssh("-tt", "127.0.0.1", "tty; sleep 600")
    assert client.stdout is not None
    terminal = client.stdout.readline().decode().strip()
    vm.sees(*(pid for session in sshd.sessions() for pid in below(session)))
    used = vm.folder / "dev" / terminal.removeprefix("/dev/")
    used.touch()
    at_work = [f"{sshd.user} is at work in {terminal.removeprefix('/dev/')} over SSH"]
    assert vm.look()["busy"] == at_work
    assert vm.look()["busy"] == []
    for used_t in (time.time() - 24 * HOUR, time.time() + 24 * HOUR, time.time()):  # the clock is set back, and forward
        os.utime(used, (used_t, used_t))
        assert vm.look()["busy"] == at_work
        assert vm.look()["busy"] == []


def test_terminals_of_which_an_earlier_guard_kept_nothing_are_known_by_their_times(vm: Guarded) -> None:
    for name, used_t in (("pts/3", 0.0), ("pts/7", time.time())):
        (vm.folder / "dev" / name).touch()
        os.utime(vm.folder / "dev" / name, (used_t, used_t))
    (vm.folder / "proc/4190001").mkdir()
    (vm.folder / "proc/4190001/cmdline").write_bytes(b"sshd: me@pts/3,pts/7\0")
    state = json.loads(vm.file("state.json").read_text())
    for kept in ({}, {"stamps": None}, {"stamps": 3}):
        vm.file("state.json").write_text(json.dumps({**state, "stamps": None, **kept}))
        assert vm.look()["busy"] == ["me is at work in pts/7 over SSH"]


def test_a_look_that_cannot_see_terminals_forgets_none(vm: Guarded) -> None:
    (vm.folder / "dev/pts/7").touch()
    (vm.folder / "proc/4190001").mkdir()
    (vm.folder / "proc/4190001/cmdline").write_bytes(b"sshd: me@pts/7\0")
    assert vm.look()["busy"] == ["me is at work in pts/7 over SSH"]
    proc = vm.environment["T2V_PROC"]
    vm.environment["T2V_PROC"] = "/nowhere"
    assert vm.look()["unknown"]
    vm.environment["T2V_PROC"] = proc
    assert vm.look()["busy"] == []


def test_a_command_over_ssh_is_work_as_long_as_it_runs(
    vm: Guarded, sshd: Sshd, ssh: Callable[..., subprocess.Popen[bytes]]
) -> None:
    client = ssh("127.0.0.1", "echo begun; exec sleep 600")
    says(client, b"begun")
    vm.sees(*(pid for session in sshd.sessions() for pid in below(session)))
    assert vm.look()["busy"] == [f"{sshd.user} runs a command over SSH"]


@pytest.mark.parametrize(
    ("title", "seen"),
    [
        ("sshd: me@pts/7", ["me is at work in pts/7 over SSH"]),
        ("sshd-session: me@pts/3,pts/7", ["me is at work in pts/7 over SSH"]),
        ("sshd: me@pts/3", []),
        ("sshd: me@notty", []),
        ("sshd: me [priv]", []),
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", []),
        ("vim sshd: me@pts/7.txt", []),
    ],
)
def test_sshd_s_titles_of_all_versions_are_read(vm: Guarded, title: str, seen: list[str]) -> None:
    for name in ("pts/3", "pts/7"):
        (vm.folder / "dev" / name).touch()
    (vm.folder / "proc/4190001").mkdir()
    (vm.folder / "proc/4190001/cmdline").write_bytes(title.encode() + bytes(5))
    vm.look()
    os.utime(vm.folder / "dev/pts/7", (9, 9))
    assert vm.look()["busy"] == seen


def test_a_connection_that_carries_only_conversations_with_the_agent_is_no_session(
    vm: Guarded, sshd: Sshd, ssh: Callable[..., subprocess.Popen[bytes]]
) -> None:
    client = ssh("127.0.0.1", command(["serve"]))
    says(client, b"need")
    assert client.stdin is not None
    client.stdin.write(upload())
    client.stdin.flush()
    says(client, b"agent")
    (session,) = sshd.sessions()
    titles = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in below(session)]
    assert any(b"@notty" in title for title in titles)
    vm.sees(*below(session))
    assert vm.look()["busy"] == []
