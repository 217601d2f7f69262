"""A machine that a shell script switches, as a user would write one; behind it is a server of the bench."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cloud.guest_agent import lose_power
from bench.sshd import Sshd, free_port

from remote.hosts.known_hosts import KnownHosts
from support.warm.python import warm
from t2v_core.workspace import Workspace

NAME = "home"
# How it stands lies in a file beside it; coming up and going down take a look each.
SCRIPT = """#!/bin/sh
echo "$1 $T2V_HOST" >> asked
stands=$(cat stands)
case "$1 $stands" in
  "status starting") echo running > stands ;;
  "status stopping") echo stopped > stands ;;
  start*) echo starting > stands; exit 0 ;;
  stop*) echo stopping > stands; exit 0 ;;
esac
echo "$stands"
"""
COMMANDS = tuple(f'{verb}_command = "./home.sh {verb}"' for verb in ("status", "start", "stop"))


def write_script(folder: Path) -> None:
    """The script, and a machine that is off."""
    script = folder / "home.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    (folder / "stands").write_text("stopped\n")


@dataclass
class CommandHere:
    """here, there: the workspaces; `[host.home]` in the one here is the machine"""

    sshd: Sshd
    here: Workspace
    there: Path
    home: Path

    def write_settings(self, *lines: str, commands: tuple[str, ...] = COMMANDS) -> None:
        section = [
            f"[host.{NAME}]", 'provider = "command"', *commands, f"port = {self.sshd.port}",
            f'user = "{self.sshd.user}"', f'identity = "{self.sshd.client_key}"', f'workdir = "{self.there}"',
            f'python = "{warm()}"', *lines,
        ]  # fmt: skip
        (self.here.root / "t2v.toml").write_text("\n".join(section) + "\n")

    def stand(self, word: str) -> None:
        (self.here.root / "stands").write_text(f"{word}\n")

    def asked(self) -> list[str]:
        """What the script was asked for but for how it stands."""
        file = self.here.root / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if not line.startswith("status")]

    def t2v(self, *words: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_", "CLOUDSDK_"))}
        return subprocess.Popen(
            [warm(), "-m", "t2v_tui.cli.main", *words], cwd=self.here.root,
            env=kept | {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config")},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ran(self, *words: str) -> subprocess.CompletedProcess[str]:
        child = self.t2v(*words)
        out, err = child.communicate(timeout=120)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(words, child.returncode, out, err)


@contextmanager
def command_here(folder: Path) -> Iterator[CommandHere]:
    """What a test started over its server ends with the context."""
    for name in ("here", "there", "home"):
        (folder / name).mkdir()
    sshd = Sshd(folder / "sshd", port=free_port())
    write_script(folder / "here")
    KnownHosts(folder / "home/.config/t2v/known_hosts").pin(NAME, [sshd.public_host_key])
    sshd.start()
    try:
        one = CommandHere(sshd, Workspace(folder / "here"), folder / "there", folder / "home")
        one.write_settings()
        yield one
    finally:
        sshd.kill()
        lose_power(sshd.home)
