"""A machine with a guard: home, process table, nvidia-smi and poweroff are the test's own, the agent is real."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remote.guard import install_guard
from remote.hosts.agent_client import ProcessChannel, agent_argv
from remote.hosts.settings import HostSettings
from support.hosts.agent_here import is_alive, wait_until

MINUTE, HOUR = 60.0, 3600.0

NVIDIA_SMI = """#!{python}
import pathlib, sys
said = pathlib.Path({answer!r}).read_text()
if said == "fails":
    sys.exit("Failed to initialize NVML: Driver/library version mismatch")
print(said)
"""
A100 = "1, 0, NVIDIA A100-SXM4-40GB, {percent}, 1024, 40960, 41, 60.1, 400"


def up_h() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) / HOUR


class Guarded:
    """This machine as a guard sees it, with a home, a process table and an nvidia-smi of the test's own."""

    name, is_managed, engine_python = "vm", False, sys.executable

    def __init__(self, folder: Path) -> None:
        self.folder, self.workdir = folder, str(folder / "work")
        for name in ("home", "work", "proc", "bin", "dev/pts"):
            (folder / name).mkdir(parents=True)
        (folder / "boot_id").write_text("this-boot\n")
        self.gpu("")
        shim = NVIDIA_SMI.format(python=sys.executable, answer=str(folder / "gpu"))
        self.program("nvidia-smi", shim)
        off = [sys.executable, "-c", f"open({str(folder / 'off')!r}, 'a').write('off ')"]
        self.environment = {
            "HOME": str(folder / "home"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "T2V_PROC": str(folder / "proc"), "T2V_TERMINALS": str(folder / "dev"),
            "T2V_BOOT_ID_FILE": str(folder / "boot_id"), "T2V_SYSTEMD_MARK": "/nowhere",
            "T2V_GUARD_EVERY_S": "60", "T2V_POWER_OFF": shlex.join(off),
        }  # fmt: skip
        self.settings = HostSettings(provider="gcloud", idle_stop_min=30, max_run_h=up_h() + 24)

    def program(self, name: str, text: str) -> None:
        (self.folder / "bin" / name).write_text(text)
        (self.folder / "bin" / name).chmod(0o755)

    def open(self, arguments: Any) -> ProcessChannel:
        return ProcessChannel(agent_argv(arguments, sys.executable), env=os.environ | self.environment)

    def close(self) -> None:
        """Nothing is held."""

    def gpu(self, percent: str) -> None:
        said = A100.format(percent=percent) if percent not in ("fails", "") else percent
        (self.folder / "gpu").write_text(said or A100.format(percent=0))

    def sees(self, *pids: int) -> None:
        """These processes are in its table, and no others."""
        for link in (self.folder / "proc").iterdir():
            link.unlink()
        for pid in pids:
            (self.folder / "proc" / str(pid)).symlink_to(f"/proc/{pid}")

    def look(self) -> dict[str, Any]:
        argv = agent_argv(["guard-look"], sys.executable)
        done = subprocess.run(argv, env=os.environ | self.environment, capture_output=True, timeout=240, check=True)
        return dict(json.loads(done.stdout))

    def file(self, name: str) -> Path:
        return self.folder / "home/.cache/t2v/guard" / name

    def was_idle_for(self, seconds: float) -> None:
        """As if the last looks had been as the last one was."""
        state = json.loads(self.file("state.json").read_text())
        self.file("state.json").write_text(json.dumps({**state, "active_s": state["active_s"] - seconds}))

    @property
    def is_off(self) -> bool:
        return (self.folder / "off").exists()

    @property
    def watch_pid(self) -> int:
        """Of the process that looks every so often; 0 where there is none."""
        text = self.file("watch/lock").read_text().strip() if self.file("watch/lock").exists() else ""
        return int(text) if text and is_alive(int(text)) else 0

    def end(self) -> None:
        self.file("rules.json").unlink(missing_ok=True)  # or somebody starts it again
        if self.watch_pid:
            os.kill(self.watch_pid, signal.SIGKILL)


@contextmanager
def guarded(folder: Path) -> Iterator[Guarded]:
    """With a guard that was agreed on and has looked once."""
    vm = Guarded(folder)
    try:
        install_guard(vm, vm.settings, {})
        wait_until(vm.file("state.json").exists)
        yield vm
    finally:
        vm.end()
