"""Hosts as they are: what their shells print, refuse or lack before the agent runs, over a real sshd.

A test that needs another login shell than this account's hands our line to that shell, as sshd does. Old Pythons are
real ones where pyenv has them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bench.sshd import Sshd
from support.house.needs import PROGRAMS, needs
from support.machines.small_disk import mounted
from support.warm.python import warm

from remote.errors import AgentNotRun, HostUnreachable
from remote.hosts import agent_upload as loader
from remote.hosts.agent_client import Agent
from remote.hosts.agent_upload import NEED, command, upload
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost

NOWHERE = Path("/nonexistent/config")
FORCED = "no-agent-forwarding,command="


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    sshd = Sshd(tmp_path_factory.mktemp("sshd"))
    sshd.start()
    yield sshd
    sshd.kill()


@pytest.fixture
def sshd(server: Sshd) -> Iterator[Sshd]:
    """Each test has a home of its own there."""
    yield server
    shutil.rmtree(server.home)
    server.home.mkdir()
    shutil.copy(server.folder / "client.pub", server.folder / "authorized_keys")


def host_at(sshd: Sshd, folder: Path, **settings: object) -> SSHHost:
    values = {"address": "127.0.0.1", "port": sshd.port, "identity": sshd.client_key, "user": sshd.user}
    known = KnownHosts(folder / "known_hosts")
    host = SSHHost("vm", HostSettings.model_validate(values | settings), known_hosts=known, config=NOWHERE)
    known.pin(host.key_name, [sshd.public_host_key])
    return host


def says_hello(host: SSHHost) -> bool:
    try:
        with Agent(host.open(["serve"]), host.name) as agent:
            return "python" in agent.call("hello")
    finally:
        host.close()


# What a .bashrc does


@pytest.mark.parametrize(
    "text",
    [
        'echo "Welcome to the machine"; echo need coffee',
        "printf 'no end of line'",
        "printf 'no end of line' >&2",
        "head -c 300000 /dev/zero | tr '\\0' x",
        "seq 20000",
        "seq 400000 >&2",
        "printf '\\xff\\xfe\\000\\r{\"agent\":'; echo '{\"agent\": nothing}'",
        "unalias -a; set +o posix; PS1=; PROMPT_COMMAND='echo x'; trap 'echo bye' EXIT",
        "export PYTHONHOME=/nonexistent PYTHONPATH=/nonexistent PYTHONSTARTUP=/nonexistent PYTHONINSPECT=1",
    ],
)
def test_whatever_it_prints_is_passed_over(sshd: Sshd, tmp_path: Path, text: str) -> None:
    (sshd.home / ".bashrc").write_text(text + "\n")
    assert says_hello(host_at(sshd, tmp_path))


@pytest.mark.parametrize(
    ("text", "sentence", "mend"),
    [
        ("yes", "prints [0-9]+ bytes before it runs a command: y", r"~/\.bashrc"),
        ("echo Sorry, closed; exit", "it said: Sorry, closed", "exit in its"),
        ("exit", "it said nothing", "exit in its"),
        ("echo Quota exceeded >&2; exit 1", "it said: Quota exceeded", "see what ssh vm true says"),
    ],
)
def test_one_that_never_comes_to_an_end_or_ends_is_said_so(
    sshd: Sshd, tmp_path: Path, text: str, sentence: str, mend: str
) -> None:
    (sshd.home / ".bashrc").write_text(text + "\n")
    host = host_at(sshd, tmp_path)
    with pytest.raises(AgentNotRun, match=sentence) as caught:
        host.open(["serve"])
    host.close()
    assert mend.replace("\\", "") in caught.value.hint.replace("\\", "")


@pytest.mark.parametrize("text", ["read answer", "echo -n Password:; sleep 15", "while :; do sleep 0.1; echo; done"])
def test_one_that_waits_has_a_deadline_and_takes_no_processor(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("remote.hosts.ssh_channel.START_TIMEOUT_S", 4.0)
    (sshd.home / ".bashrc").write_text(text + "\n")
    host = host_at(sshd, tmp_path)
    host.connect()
    before = time.process_time()
    with pytest.raises(HostUnreachable, match="does not start the agent in 4 s") as caught:
        host.open(["serve"])
    assert time.process_time() - before < 2.0
    assert ".bashrc" in caught.value.hint
    host.close()


# What runs instead


@pytest.mark.parametrize(
    ("program", "sentence", "mend"),
    [
        ("/usr/sbin/nologin", "it said: This account is currently not available", "another user"),
        ("echo This service allows sftp connections only.; exit 1", "allows sftp connections only", "ssh vm true"),
        ("echo unknown command: $SSH_ORIGINAL_COMMAND >&2; exit 128", r"unknown command: exec sh -c …$", "ssh vm true"),
        ("/bin/true", "it said nothing", "ForceCommand"),
        ("echo Hello; sleep 0", "it said: Hello", "ForceCommand"),
    ],
)
def test_another_command_in_our_command_s_place_is_said_so(
    sshd: Sshd, tmp_path: Path, program: str, sentence: str, mend: str
) -> None:
    keys = sshd.folder / "authorized_keys"
    keys.write_text(f'{FORCED}"{program}" {keys.read_text()}')
    host = host_at(sshd, tmp_path)
    with pytest.raises(AgentNotRun, match=sentence) as caught:
        host.open(["serve"])
    host.close()
    assert mend in caught.value.hint


# Login shells


def shell_named(name: str) -> str:
    return needs(name) if name in PROGRAMS else shutil.which(name) or pytest.skip(f"there is no {name}")


@pytest.mark.parametrize("is_careful", [False, True])
@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "tcsh"])
def test_every_login_shell_takes_our_line(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_careful: bool
) -> None:
    monkeypatch.setattr(loader, "BASES", ())  # an agent may lie there
    odd = tmp_path / 'it\'s a $HOME; `x` \\ "y" ü! *'
    odd.symlink_to(sys.executable)
    line = command(["serve"], [str(odd)], is_careful=is_careful)
    child = subprocess.Popen(
        [shell_named(shell), "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == NEED
        child.stdin.write(upload())
        child.stdin.flush()
        assert child.stdout.readline().startswith(b'{"agent":')
        assert Path(f"/proc/{child.pid}/cmdline").read_bytes().split(b"\0")[0] == os.fsencode(odd)
    finally:
        child.communicate(timeout=120)


# Pythons


def old_python(version: str) -> Path:
    """A real one that is too old, as pyenv installs it."""
    found = list(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version[0]}"))
    if not found:
        pytest.skip(f"needs python{version}: put one there by pyenv")
    return found[0]


def path_with(folder: Path, **programs: Path | str) -> str:
    """A folder for PATH with `sh`, and these."""
    folder.mkdir()
    for name, program in {"sh": shutil.which("sh") or "/bin/sh", **programs}.items():
        (folder / name).symlink_to(program)
    return str(folder)


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8"])
def test_an_old_python3_gives_way_to_one_that_will_do(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(loader, "_PLACES", "")
    old = old_python(version)
    path = path_with(tmp_path / "bin", python3=old)
    (sshd.home / ".bashrc").write_text(f"PATH={path}\n")
    host = host_at(sshd, tmp_path)
    with pytest.raises(AgentNotRun, match=rf"vm has no python3 of version 3\.9 or newer: .* is {version}") as caught:
        host.open(["serve"])
    assert "python = in t2v.toml" in caught.value.hint
    assert says_hello(host_at(sshd, tmp_path, python=sys.executable))
    (tmp_path / "bin/python3.11").symlink_to(sys.executable)
    assert says_hello(host)
    assert host._is_careful


@pytest.mark.parametrize(
    "found", ["miniconda3/bin/python3", ".pyenv/versions/3.11.9/bin/python3", "w/.t2v/venv/bin/python"]
)
def test_without_python3_on_the_path_it_is_looked_for(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(loader, "_PLACES", " ".join(word for word in loader._PLACES.split() if "$HOME" in word))
    (sshd.home / ".bashrc").write_text(f"PATH={path_with(tmp_path / 'bin')}\n")
    host = host_at(sshd, tmp_path, workdir="~/w")
    with pytest.raises(AgentNotRun, match="has no python3"):
        host.open(["serve"])
    (sshd.home / found).parent.mkdir(parents=True)
    (sshd.home / found).symlink_to(sys.executable)
    assert says_hello(host)


def test_a_python3_that_does_not_start_is_no_end(sshd: Sshd, tmp_path: Path) -> None:
    """As pyenv's, when the version that it is told to take is not installed."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho pyenv: python3: command not found >&2\nexit 127\n")
    broken.chmod(0o755)
    (sshd.home / ".bashrc").write_text(f"PATH={path_with(tmp_path / 'bin', python3=broken)}:$PATH\n")
    assert says_hello(host_at(sshd, tmp_path, python=sys.executable, workdir=str(tmp_path)))
    assert says_hello(host_at(sshd, tmp_path))


# Home folders


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the place of /var/tmp there."""
    (tmp_path / "var").mkdir()
    monkeypatch.setattr(loader, "BASES", (str(tmp_path / "var"),))
    return tmp_path / f"var/t2v-{os.getuid()}"


def lists_jobs(host: SSHHost, workspace: Path) -> bool:
    try:
        with Agent(host.open(["serve"]), host.name) as agent:
            return agent.call("status", workspace=str(workspace), jobs=None)["jobs"] == []
    finally:
        host.close()


def test_a_home_that_cannot_be_written_to_is_no_end(sshd: Sshd, tmp_path: Path, elsewhere: Path) -> None:
    (sshd.home / ".cache").write_text("a file where a folder would have to be")
    for _ in range(2):
        assert lists_jobs(host_at(sshd, tmp_path), tmp_path)
    assert elsewhere.stat().st_mode & 0o777 == 0o700


def test_a_home_on_a_full_disk_is_no_end(sshd: Sshd, tmp_path: Path, elsewhere: Path) -> None:
    with mounted(sshd.home / ".cache", "1m") as disk:
        with (disk / "all").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert lists_jobs(host_at(sshd, tmp_path), tmp_path)
        assert [path.name for path in elsewhere.iterdir()] == [f"agent-{loader.agent_sha256()}"]
        assert not list(disk.glob("t2v/agent-*"))


def test_a_folder_that_another_user_may_write_is_never_run_from(sshd: Sshd, tmp_path: Path, elsewhere: Path) -> None:
    (sshd.home / ".cache").write_text("a file where a folder would have to be")
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    host = host_at(sshd, tmp_path)
    with pytest.raises(AgentNotRun, match=r"vm has no room for the agent: .*\.cache/t2v: Not a directory") as caught:
        host.open(["serve"])
    host.close()
    assert "free some space" in caught.value.hint


def test_one_such_host_is_no_reason_to_keep_quiet_about_the_others(sshd: Sshd, tmp_path: Path) -> None:
    """Each is said by itself, with its next step; `jobs`, `status` and `host list` go on with the rest."""
    keys = sshd.folder / "authorized_keys"
    keys.write_text(f'{FORCED}"/usr/sbin/nologin" {keys.read_text()}')
    config = tmp_path / "config"
    known = KnownHosts(config / "t2v/known_hosts")
    known.pin(f"[127.0.0.1]:{sshd.port}", [sshd.public_host_key])
    at = f'address = "127.0.0.1"\nport = {sshd.port}\nidentity = "{sshd.client_key}"\nuser = "{sshd.user}"\n'
    (tmp_path / "t2v.toml").write_text(
        f'[host.shut]\n{at}\n[host.stranger]\n{at}key_name = "nobody"\n[host.far]\nprovider = "gcloud"\nzone = "z"\n'
    )

    def t2v(*words: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_", "CLOUDSDK"))}
        kept |= {"XDG_CONFIG_HOME": str(config), "HOME": str(config)}
        return subprocess.run(
            [warm(), "-m", "t2v_tui.cli.main", *words], cwd=tmp_path, env=kept, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    jobs = t2v("jobs", "--all")
    assert jobs.returncode == 3
    assert "shut cannot be asked: the agent does not run on shut; it said: This account is curr" in jobs.stderr
    assert "stranger is unreachable: nobody shows a key that nobody has pinned" in jobs.stderr
    assert "far cannot be asked: nothing says which Google Cloud project is meant" in jobs.stderr
    assert jobs.stderr.count("hint:  ") == 3
    assert "shut" in t2v("status", "--all").stdout
    listed = t2v("host", "list")
    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 3)
    assert "far: nothing says which Google Cloud project is meant" in listed.stderr
