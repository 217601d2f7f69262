"""Several real SSH servers, the real `ssh`, and an agent that says on which of them it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.sshd import Sshd, make_key

from remote.errors import RemoteError
from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from support.house.needs import needs

WHERE = """
import json, os, sys

def main(arguments):
    print(json.dumps({"agent": "echo", "home": os.environ["HOME"]}), flush=True)
    sys.stdin.buffer.read()
"""
# A ProxyCommand of one's own: what netcat does, without netcat.
RELAY = """
import os, select, socket, sys
far = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
while True:
    ready = select.select([0, far], [], [])[0]
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            break
        far.sendall(data)
    if far in ready:
        data = far.recv(65536)
        if not data:
            break
        os.write(1, data)
"""


@dataclass
class World:
    """servers: each with its own home folder and host key; all let the key `good` in, and none the key `stranger`"""

    folder: Path
    servers: Sequence[Sshd]

    @property
    def good(self) -> Path:
        return self.folder / "good"

    @property
    def stranger(self) -> Path:
        return self.folder / "stranger"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    @property
    def relay(self) -> str:
        return f"{sys.executable} {self.folder / 'relay.py'}"

    def write(self, text: str, *, name: str = "config", encoding: str = "utf-8") -> Path:
        path = self.folder / name
        path.write_bytes(text.encode(encoding))
        path.chmod(0o600)
        return path

    def host(self, name: str, *, pinned: bool = True, **settings: object) -> SSHHost:
        """As t2v reaches it by that configuration. pinned: every server's key counts for it"""
        known = KnownHosts(self.folder / f"known_hosts_{name}")
        known.path.unlink(missing_ok=True)
        host = SSHHost(name, HostSettings.model_validate(settings), known_hosts=known, config=self.config)
        if pinned:
            known.pin(host.key_name, [server.public_host_key for server in self.servers])
        return host

    def ours(self, name: str, **settings: object) -> str:
        """Where t2v gets to: the server's home folder; "" when nobody lets it in."""
        try:
            host = self.host(name, **settings)
        except RemoteError:
            return ""
        try:
            return str(host.open(["serve"]).greeting["home"])
        except RemoteError:
            return ""
        finally:
            host.close()

    def openssh(self, name: str, *options: str) -> str:
        """Where the real ssh gets to."""
        done = subprocess.run(
            ["ssh", "-F", str(self.config), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "BatchMode=yes", *options, name, "echo $HOME"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        return done.stdout.strip() if done.returncode == 0 else ""


@contextmanager
def ssh_world(folder: Path, count: int = 3) -> Iterator[World]:
    needs("sshd", "ssh", "ssh-keygen")
    servers = [Sshd(folder / f"server{number}") for number in range(count)]
    for name in ("good", "stranger"):
        make_key(folder / name)
    (folder / "relay.py").write_text(RELAY)
    started: list[Sshd] = []
    try:
        for server in servers:
            (server.folder / "authorized_keys").write_bytes((folder / "good.pub").read_bytes())
            server.start()
            started.append(server)
        yield World(folder, servers)
    finally:
        for server in started:
            server.kill()


@contextmanager
def ssh_agent(folder: Path) -> Iterator[Path]:
    """A real agent at a socket of its own; gives the socket."""
    needs("ssh-agent")
    socket = folder / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            if process.poll() is not None:
                raise RuntimeError("ssh-agent did not start")
            os.sched_yield()
        yield socket
    finally:
        process.terminate()
        process.wait(10)


def add_key(socket: Path, key: Path, passphrase: str = "") -> None:
    """Into the agent; the key's passphrase is taken off a copy of it first."""
    plain = key.with_name(f"{key.name}-for-the-agent")
    plain.write_bytes(key.read_bytes())
    plain.chmod(0o600)
    if passphrase:
        command = ["ssh-keygen", "-q", "-p", "-P", passphrase, "-N", "", "-f", str(plain)]
        subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)
    subprocess.run(
        ["ssh-add", "-q", str(plain)], check=True, timeout=20, env={**os.environ, "SSH_AUTH_SOCK": str(socket)},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    plain.unlink()


def make_key_with(path: Path, passphrase: str = "", *, kind: str = "ed25519") -> None:
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, timeout=240)
