"""A VM of the bench's cloud that is a real machine: what is typed here starts it, works on it, and sees it go off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cloud.compute_state import Instance
from bench.cloud.metadata_server import MetadataServer
from bench.machine import Machine, run
from bench.machine_guest import MachineGuest

from support.machines.gce_here import NAME, Gce, gce_here
from support.machines.machine_here import needs_a_machine
from support.warm.python import warm
from t2v_core.workspace import Workspace

USER, ALIAS = "me", "compute.4711001"
EVERY_S, IDLE_S = 2.0, 3.0  # a guard's minute and half hour
RULES = ".cache/t2v/guard/rules.json"


@dataclass
class MachineVm:
    """here: the workspace in which is typed; `there` is the one of the VM's user, also while it is off."""

    gce: Gce
    machine: Machine
    metadata: MetadataServer
    instance: Instance
    here: Workspace

    @property
    def home(self) -> Path:
        return self.machine.path(f"/home/{USER}")

    @property
    def there(self) -> Path:
        return self.home / "text2video"

    def environment(self, checkout: Path | None = None) -> dict[str, str]:
        """For a program that is this user's; checkout: whose t2v it is, if not this one."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("T2V_", "SSH_", "CLOUDSDK_"))}
        ours = kept | self.gce.environment | {"XDG_CONFIG_HOME": str(self.gce.home / ".config"), "HF_HUB_OFFLINE": "1"}
        return ours | ({"PYTHONPATH": f"{checkout}:{ours['PYTHONPATH']}"} if checkout else {})

    def t2v(self, *words: str, checkout: Path | None = None) -> subprocess.Popen[str]:
        python = [sys.executable, "-P"] if checkout else [warm()]
        return subprocess.Popen(
            [*python, "-m", "t2v_tui.cli.main", *words], cwd=self.here.root, env=self.environment(checkout),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def ran(self, *words: str, checkout: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command to its end, which is a good one."""
        child = self.t2v(*words, "--host", NAME, checkout=checkout)
        out, err = child.communicate(timeout=300)
        assert child.returncode == 0, (words, out, err)
        return subprocess.CompletedProcess(words, child.returncode, out, err)

    def said(self, *words: str, checkout: Path | None = None) -> Any:
        """What a command says as JSON."""
        return json.loads(self.ran("--json", *words, checkout=checkout).stdout)

    def give(self, source: Path, name: str) -> None:
        """A folder for the workspace there, which is the user's."""
        shutil.copytree(source, self.there / name)
        run("chown", "-R", f"--reference={self.home}", str(self.there))

    def until(self, is_so: Callable[[], bool]) -> None:
        self.machine.wait_for(is_so, 180.0, "does not come to what the test waits for")

    def job(self, verb: str) -> Path | None:
        """The newest of its kind there."""
        found = sorted(path.parent for path in self.there.glob(f"jobs/[0-9]*-{verb}-*/request.json"))
        return found[-1] if found else None

    def is_left_alone(self) -> None:
        """Its guard goes by seconds from now on, and nobody here does anything until it is off."""
        rules = self.home / RULES
        rules.write_text(json.dumps(json.loads(rules.read_text()) | {"idle_stop_min": IDLE_S / 60}))
        self.machine.wait_until_off()


@contextmanager
def machine_vm(folder: Path, *settings: str) -> Iterator[MachineVm]:
    """A VM that is off, thrown away with the context. settings: more lines of its section in t2v.toml"""
    needs_a_machine()
    for name in ("here", "home"):
        (folder / name).mkdir(parents=True)
    with MetadataServer() as metadata:
        environment = {"T2V_METADATA_HOST": metadata.host, "T2V_GUARD_EVERY_S": f"{EVERY_S:g}"}
        machine = Machine(Path(tempfile.mkdtemp(prefix="t2v-machine-")), environment)
        try:
            # One user's manager of systemd 252 once hung in "Activating special unit exit.target" for its 120 s.
            machine.write("/etc/systemd/system/user@.service.d/bench.conf", "[Service]\nTimeoutStopSec=20\n")
            with gce_here(folder / "home", MachineGuest(machine, metadata)) as gce:
                instance = gce.add()
                instance.metadata.items["enable-guest-attributes"] = "TRUE"
                lines = (f"port = {machine.port}", f'user = "{USER}"', 'workdir = "~/text2video"', *settings)
                gce.write_settings(folder / "here", *lines)
                yield MachineVm(gce, machine, metadata, instance, Workspace(folder / "here"))
        finally:
            machine.close()
