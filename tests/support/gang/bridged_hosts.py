"""Hosts with a real sshd each, in network namespaces on one bridge. They lose power or network, and come back.

It takes root.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.cloud.guest_agent import lose_power
from bench.sshd import Sshd

from remote.hosts.known_hosts import KnownHosts
from remote.hosts.settings import HostSettings
from remote.hosts.ssh import SSHHost
from remote.jobs.client import HostJobs
from support.engine.forked_command import ROOT, ForkedCommand
from support.hosts.agent_here import wait_until
from support.house.needs import leave_out
from t2v_core.workspace import Workspace

NET = f"10.{64 + os.getpid() // 256 % 64}.{os.getpid() % 256}"
WARM = Path(__file__).with_name("warm_python.py")


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, timeout=20, capture_output=True, text=True).stdout


@dataclass
class FarHost:
    """One of them, which takes itself for a machine of its own.

    there: its workspace; shared: the one that it sees in its place, as over NFS
    lost_s: after which an engine there takes another host for lost
    """

    name: str
    number: int
    folder: Path
    lost_s: float
    shared: Path | None = field(default=None, init=False)
    sshd: Sshd = field(init=False)
    _warm: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.there.mkdir()
        self.sshd = Sshd(self.folder / "sshd", address=self.address, inside=self.inside, variables=self._identity())
        self.python.write_text(
            f"#!/bin/sh\nexport T2V_TEST_PYTHON='{self.python}'\n"
            f"exec {sys.executable} -S -E {WARM} '{self._socket}' \"$@\"\n"
        )
        self.python.chmod(0o700)

    @property
    def there(self) -> Path:
        return self.shared or self.folder / "there"

    @property
    def python(self) -> Path:
        return self.folder / "python"

    @property
    def _socket(self) -> Path:
        return self.folder / "warm"

    @property
    def namespace(self) -> str:
        return f"t2v-{os.getpid()}-{self.name}"

    @property
    def _link(self) -> str:
        return f"t2v{os.getpid() % 10**6}{self.name}"

    @property
    def inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)

    @property
    def address(self) -> str:
        return f"{NET}.{self.number + 2}"

    def _identity(self) -> dict[str, str]:
        for name in ("machine_id", "boot_id"):
            (self.folder / name).write_text(f"{name} of {self.name}\n")
        return {f"T2V_{name.upper()}_FILE": str(self.folder / name) for name in ("machine_id", "boot_id")}

    def connect(self, bridge: str) -> None:
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _run("ip", "link", "set", self._link, "master", bridge, "up")
        for words in (("address", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up"),
                      ("link", "set", "lo", "up")):  # fmt: skip
            _run(*self.inside, "ip", *words)

    def start(self) -> None:
        paths = f"{ROOT / 'tests'}:{ROOT}"
        environment = {**os.environ, "T2V_TEST_PATHS": paths, "T2V_TEST_LOST_S": str(self.lost_s)}
        with (self.folder / "warm.log").open("wb") as log:
            self._warm = subprocess.Popen(
                [*self.inside, sys.executable, str(WARM), str(self._socket)], env=environment, stdout=log, stderr=log
            )
        self.sshd.start()

    def await_engine(self) -> None:
        assert self._warm is not None
        wait_until(lambda: self._socket.exists() or self._warm.poll() is not None)  # type: ignore[union-attr]
        assert self._socket.exists(), (self.folder / "warm.log").read_text()

    def unplug(self) -> None:
        """Its network is gone: nobody is told."""
        _run("ip", "link", "set", self._link, "down")

    def plug_in(self) -> None:
        _run("ip", "link", "set", self._link, "up")

    def lose_route(self, address: str) -> None:
        """It cannot reach that address any more, nor answer it."""
        _run(*self.inside, "ip", "route", "add", "unreachable", address)

    def regain_route(self, address: str) -> None:
        _run(*self.inside, "ip", "route", "delete", "unreachable", address)

    def lose_power(self, *, at_once: bool = True) -> None:
        """SIGKILL to all that runs there but the server of forks. at_once: its network goes first, as with a plug"""
        if at_once:
            self.unplug()
        self._kill_all()
        self.sshd.stop(signal.SIGKILL)

    def _kill_all(self) -> None:
        kept = self._warm.pid if self._warm is not None else -1
        for _ in range(3):  # one that was just being forked
            for pid in map(int, _run("ip", "netns", "pids", self.namespace).split()):
                if pid != kept:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def boot(self) -> None:
        self.plug_in()
        self.sshd.start()

    def end(self) -> None:
        self._kill_all()
        for process in (self._warm,):
            if process is not None:
                process.kill()
                process.wait()
        with suppress(subprocess.CalledProcessError):
            _run("ip", "netns", "delete", self.namespace)

    def settings(self) -> dict[str, object]:
        return {
            "address": self.address, "port": self.sshd.port, "user": self.sshd.user,
            "identity": str(self.sshd.client_key), "workdir": str(self.there), "python": str(self.python),
        }  # fmt: skip

    def toml(self) -> str:
        lines = [f"{k} = {v}" if isinstance(v, int) else f'{k} = "{v}"' for k, v in self.settings().items()]
        return f"[host.{self.name}]\n" + "\n".join(lines) + "\n"

    def jobs_there(self) -> list[Path]:
        return sorted(self.there.glob("jobs/*/spec.json"))


@dataclass
class Hosts:
    """here: the workspace that leads; far: the hosts by name"""

    here: Workspace
    far: dict[str, FarHost]

    @property
    def config(self) -> Path:
        return self.here.root.parent / "config"

    def write_settings(self, more: str = "") -> None:
        (self.here.root / "t2v.toml").write_text("\n".join(one.toml() for one in self.far.values()) + more)
        known = KnownHosts(self.config / "t2v/known_hosts")
        for one in self.far.values():
            host = SSHHost(one.name, HostSettings.model_validate(one.settings()), known_hosts=known)
            known.pin(host.key_name, [one.sshd.public_host_key])

    @contextmanager
    def jobs(self, name: str) -> Iterator[HostJobs]:
        one = self.far[name]
        known = KnownHosts(self.config / "t2v/known_hosts")
        with HostJobs(SSHHost(name, HostSettings.model_validate(one.settings()), known_hosts=known), self.here) as jobs:
            yield jobs

    def t2v(self, words: Sequence[str], name: str = "out") -> ForkedCommand:
        """The command line here; its stdout and stderr are files of that name in the config folder."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("T2V_", "SSH_"))}
        kept |= {"XDG_CONFIG_HOME": str(self.config), "HOME": str(self.config), "PYTHONPATH": str(ROOT)}
        streams = (str(self.config / f"{name}.out"), str(self.config / f"{name}.err"))
        for stream in streams:
            Path(stream).unlink(missing_ok=True)
        return ForkedCommand(words, self.here.root, kept, streams)

    def said(self, name: str = "out") -> tuple[str, str]:
        """stdout and stderr"""
        out, err = ((self.config / f"{name}.{kind}").read_text() for kind in ("out", "err"))
        return out, err

    def led(self) -> Path:
        """The directory of the newest job that is led here."""
        return sorted((self.here.root / "jobs").glob("*/spec.json"))[-1].parent


@contextmanager
def bridged_hosts(folder: Path, names: str, *, lost_s: float = 3.0) -> Iterator[Hosts]:
    """Hosts of these names, a letter each, up, in t2v.toml here; all ends with the context.

    Left out where it may not be made.
    """
    if os.geteuid() != 0:
        leave_out("root")
    for name in ("here", "config/t2v"):
        (folder / name).mkdir(parents=True)
    bridge = f"t2vb{os.getpid() % 10**6}"
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
    except (OSError, subprocess.CalledProcessError):
        leave_out("root")
    hosts = Hosts(Workspace(folder / "here"), {})
    try:
        _run("ip", "address", "add", f"{NET}.1/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for number, name in enumerate(names):
            hosts.far[name] = one = FarHost(name, number, folder / name, lost_s)
            one.connect(bridge)
            one.start()
        for one in hosts.far.values():
            one.await_engine()
        hosts.write_settings()
        yield hosts
    finally:
        lose_power(hosts.config)  # what was typed here, and who leads
        for one in hosts.far.values():
            one.end()
        _run("ip", "link", "delete", bridge)
