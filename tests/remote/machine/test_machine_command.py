"""A real machine behind three commands: started for a training, stopped by hand, and by its own guard."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from bench.machine import PRODUCT_FILE, Machine, descendants, run
from support.engine.training_set import data_set
from support.machines.machine_here import MachineHere, machine_here

# Three boots and an install, which took five minutes beside other work on two cores.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
EVERY_S, IDLE_S = 2.0, 3.0  # a guard's minute and half hour
RULES = ".cache/t2v/guard/rules.json"
TRAIN = (
    "train", "--host", "home", "--preset", "tiny", "--epochs", "500", "--batch-size", "2", "--checkpoint-every", "400",
    "--samples", "0", "--device", "cpu", "--data", "data/small", "--detach",
)  # fmt: skip
# As somebody writes it for a machine at home. A process that has ended and that nobody asked for has no `exe`.
SCRIPT = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
case $1 in
  status) [ -e "/proc/$(cat pid 2> /dev/null)/exe" ] && echo running || echo stopped ;;
  start) SYSTEMD_NSPAWN_TMPFS_TMP=0 setsid {boot} >> console 2>&1 < /dev/null & echo $! > pid ;;
  stop) {ssh} sudo -n systemctl poweroff || [ $? = 255 ] ;;
esac
"""


@pytest.fixture
def there(tmp_path: Path) -> Iterator[MachineHere]:
    """It is off, and its firmware is nobody's that we know."""
    with machine_here(tmp_path / "m", {"T2V_GUARD_EVERY_S": f"{EVERY_S:g}"}, start=False) as one:
        machine, folder = one.machine, one.here.root
        machine.write(PRODUCT_FILE, "Desk 3000\n")
        script = folder / "home.sh"
        script.write_text(SCRIPT.format(boot=shlex.join(machine.argv()), ssh=shlex.join(machine.ssh_argv())))
        script.chmod(0o755)
        settings = [
            "[host.home]", 'provider = "command"', 'address = "127.0.0.1"', f"port = {machine.port}", 'user = "me"',
            f'identity = "{one.identity}"', 'workdir = "~/text2video"', f'python = "{sys.executable}"',
            *(f'{verb}_command = "./home.sh {verb}"' for verb in ("status", "start", "stop")), "usd_per_hour = 0.4",
        ]  # fmt: skip
        (folder / "t2v.toml").write_text("\n".join(settings) + "\n")
        try:
            yield one
        finally:
            switch_off(machine, folder / "pid")


def switch_off(machine: Machine, pid: Path) -> None:
    if pid.exists():
        for one in descendants(int(pid.read_text()), "systemd")[:1]:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        machine.wait_for(lambda: not is_on(pid), 60, "is still on")


def is_on(pid: Path) -> bool:
    return Path(f"/proc/{pid.read_text().strip()}/exe").exists()


def ran(there: MachineHere, *words: str) -> tuple[str, str]:
    """A command to its good end: what it printed, and what it told."""
    done = there.ran(*words, timeout_s=400)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout, done.stderr


def test_a_training_starts_it_a_stop_takes_it_down_and_its_guard_as_well(there: MachineHere) -> None:
    data = there.there() / "data/small"
    data.parent.mkdir(parents=True)
    run("cp", "-r", str(data_set()), str(data))
    run("chown", "-R", f"--reference={there.home()}", str(there.there()))
    assert json.loads(ran(there, "--json", "vm", "status")[0])["is_stopped"]

    told = ran(there, *TRAIN)[1]
    assert "its start_command runs: ./home.sh start" in told
    assert "$0.40 an hour" in told
    [job] = json.loads(ran(there, "--json", "jobs", "--host", "home")[0])
    assert job["verb"] == "train"
    (there.directory(job["job"]) / "pause").touch()  # at work all the same, and with no core of this machine
    said = json.loads(ran(there, "--json", "vm", "status", "--guard")[0])
    assert (said["status"], said["ssh_answers"]) == ("running", True)
    assert (said["guard"]["by"], said["guard"]["can_power_off"]) == ("systemd timer", True)
    refused = there.ran("vm", "stop")
    assert (refused.returncode, "home is at work" in refused.stderr) == (2, True), refused.stderr
    ran(there, "stop", job["job"], "--host", "home")
    assert "home is stopped: stopped" in ran(there, "vm", "stop")[1]
    assert not is_on(there.here.root / "pid")

    ran(there, "vm", "start")
    rules = there.home() / RULES
    rules.write_text(json.dumps(json.loads(rules.read_text()) | {"idle_stop_min": IDLE_S / 60}))
    there.machine.wait_for(lambda: not is_on(there.here.root / "pid"), 180, "is still on, with nothing to do")
    costs = json.loads(ran(there, "--json", "vm", "cost")[0])
    assert (costs["state"], costs["usd_per_hour"], len(costs["sessions"])) == ("stopped", 0.0, 2)
    assert all(one["stopped_t"] is not None for one in costs["sessions"])
