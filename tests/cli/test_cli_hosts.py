"""`t2v host`: a key is pinned after somebody compared it, and never otherwise. The server is a real sshd."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.sshd import Sshd, free_port
from support.warm.python import warm

from remote.hosts.known_hosts import KnownHosts, fingerprint

T2V = [warm(), "-m", "t2v_tui.cli.main"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def workspace(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one host, and a home of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t2v.toml").write_text(f'[host.vm]\naddress = "127.0.0.1"\nport = {sshd.port}\nuser = "me"\n')
    return tmp_path


def t2v(workspace: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*T2V, "--workspace", str(workspace), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def pinned(workspace: Path, sshd: Sshd) -> list[str]:
    return KnownHosts(workspace / "config/t2v/known_hosts").pinned(f"[127.0.0.1]:{sshd.port}")


def answered(workspace: Path, answer: bytes, *words: str) -> tuple[int, str]:
    """Run it on a terminal where somebody types `answer`."""
    here, there = pty.openpty()
    child = subprocess.Popen([*T2V, "--workspace", str(workspace), *words], stdin=there, stdout=there, stderr=there)
    os.close(there)
    os.write(here, answer)
    shown = b""
    while True:
        try:
            data = os.read(here, 4096)
        except OSError:  # the last end of the terminal is closed
            break
        shown += data
    os.close(here)
    return child.wait(60), shown.decode()


def test_a_key_is_pinned_when_its_fingerprint_is_given(workspace: Path, sshd: Sshd) -> None:
    done = t2v(workspace, "host", "trust", "vm", "--fingerprint", fingerprint(sshd.public_host_key))
    assert done.returncode == 0, done.stderr
    assert pinned(workspace, sshd) == [sshd.public_host_key]
    assert "pinned already" in t2v(workspace, "host", "trust", "vm").stderr
    rows = json.loads(t2v(workspace, "--json", "host", "list").stdout)
    assert rows[0]["pinned"] == [fingerprint(sshd.public_host_key)]


def test_another_fingerprint_pins_nothing(workspace: Path, sshd: Sshd) -> None:
    done = t2v(workspace, "host", "trust", "vm", "--fingerprint", "SHA256:other")
    assert done.returncode == 3
    assert fingerprint(sshd.public_host_key) in done.stderr
    assert pinned(workspace, sshd) == []


def test_without_a_terminal_nobody_can_agree(workspace: Path, sshd: Sshd) -> None:
    done = t2v(workspace, "host", "trust", "vm")
    assert done.returncode == 2
    assert f"--fingerprint {fingerprint(sshd.public_host_key)}" in done.stderr
    assert pinned(workspace, sshd) == []


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"\n", 2), (b"n\n", 2)])
def test_on_a_terminal_somebody_is_asked_once(workspace: Path, sshd: Sshd, answer: bytes, code: int) -> None:
    ended, shown = answered(workspace, answer, "host", "trust", "vm")
    assert ended == code
    assert fingerprint(sshd.public_host_key) in shown
    assert pinned(workspace, sshd) == ([sshd.public_host_key] if code == 0 else [])


def test_a_host_that_is_off_and_one_that_is_unknown(workspace: Path) -> None:
    (workspace / "t2v.toml").write_text(f'[host.golden]\naddress = "127.0.0.1"\nport = {free_port()}\n')
    off = t2v(workspace, "host", "trust", "golden")
    assert (off.returncode, "refuses the connection" in off.stderr) == (3, True)
    unknown = t2v(workspace, "host", "trust", "golden1")
    assert (unknown.returncode, "did you mean 'golden'?" in unknown.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[host.vm]\nadress = 'x'\n", "[host.vm] has no setting 'adress'"),
        ("[host.vm]\nport = 0\n", "[host.vm] port = 0"),
        ("[host]\nvm = 3\n", "'host.vm' is a section"),
        ("host = 3\n", "'host' is a section for each host"),
    ],
)
def test_a_wrong_section_is_one_sentence(workspace: Path, text: str, said: str) -> None:
    (workspace / "t2v.toml").write_text(text)
    done = t2v(workspace, "host", "list")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
