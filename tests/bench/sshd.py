"""A private OpenSSH server on loopback: own port, throw-away keys, one folder; nothing of the system's is touched."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from support.house.needs import needs

START_TIMEOUT_S = 10.0

# The account's login shell reads its rc files before any command; a test must not depend on what they do. A guard that
# a test starts there must not switch off the machine that runs the test.
CONFIG = """{settings}
Port {port}
ListenAddress {address}
HostKey {folder}/{host_key}
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
MaxSessions 10
MaxStartups 100
PrintMotd no
SetEnv HOME={home} "T2V_POWER_OFF=touch {folder}/powered-off" T2V_GUARD_EVERY_S={guard_every_s}{more}
Subsystem sftp internal-sftp
"""


@dataclass
class Sshd:
    """A server that accepts one key for the current user, whose home there is `home`.

    folder: keys, configuration and the server's log
    inside: what to put before its command, as for another network namespace; address: where it listens in there
    guard_every_s: how often a guard that is started over it looks
    settings: lines of its configuration that go before ours
    programs: a folder that comes first on the PATH there; variables: more of what a login there has
    """

    folder: Path
    port: int = 0
    host_key: str = "host_ed25519"
    address: str = "127.0.0.1"
    inside: Sequence[str] = ()
    guard_every_s: float = 60.0
    settings: str = ""
    programs: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    _program: str = field(default="", init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._program = needs("sshd", "ssh-keygen")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        for name in (self.host_key, "client"):
            make_key(self.folder / name)
        shutil.copy(self.folder / "client.pub", self.folder / "authorized_keys")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own demand when it runs as root

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def client_key(self) -> Path:
        return self.folder / "client"

    @property
    def public_host_key(self) -> str:
        """Type and base64, as in a known_hosts line."""
        return " ".join((self.folder / f"{self.host_key}.pub").read_text().split()[:2])

    def start(self) -> None:
        """Listen, on the same port as before when it was started before."""
        self.port = self.port or free_port()
        path = {"PATH": f"{self.programs}:{os.defpath}"} if self.programs else {}
        more = "".join(f" {name}={value}" for name, value in {**path, **self.variables}.items())
        text = CONFIG.format(
            port=self.port, address=self.address, folder=self.folder, host_key=self.host_key, home=self.home,
            guard_every_s=self.guard_every_s, more=more, settings=self.settings,
        )  # fmt: skip
        (self.folder / "sshd_config").write_text(text)
        with (self.folder / "sshd.log").open("ab") as log:
            command = [*self.inside, self._program, "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._await_banner()

    def _await_banner(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((self.address, self.port), timeout=1) as probe:
                if probe.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        raise RuntimeError(f"sshd did not start: {(self.folder / 'sshd.log').read_text()}")

    @property
    def pid(self) -> int:
        """Of the listener."""
        assert self._process is not None
        return self._process.pid

    def sessions(self) -> list[int]:
        """Process ids of the connections' own servers, whose parent is the listener."""
        return children_of(self._process.pid) if self._process is not None else []

    def kill(self) -> None:
        """SIGKILL to the listener and to every session, as a machine's fault would."""
        # Of each connection two: an ordinary user's second one goes on by itself.
        first = self.sessions()
        seconds = [pid for one in first for pid in children_of(one) if program_of(pid) == "sshd"]
        for pid in (*first, *seconds):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=240)
            self._process = None


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def program_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def make_key(path: Path) -> None:
    """An ed25519 key pair without a passphrase, once."""
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
        subprocess.run(command, check=True, timeout=20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
