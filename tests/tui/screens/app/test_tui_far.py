"""The terminal UI on a host over real SSH: work is started there, the link is cut and heals, nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.engine.training_set import data_set
from support.hosts.far_host import Far, far_host
from support.machines.vm_here import vm_here
from support.screen.tmux_here import t2v_tui, terminal

TRAINING = """
data = "{data}"
device = "cpu"
[train]
preset = "tiny"
epochs = 400
batch_size = 2
samples = 0
"""
# Counts as a training does, until a file named `go` lies in its workspace.
TRAINS = """
import json, os, pathlib, sys, time
job = pathlib.Path("jobs") / os.environ["T2V_JOB"]
print("at work", flush=True)
with (job / "events.jsonl").open("a") as events:
    for step in range(1, 100_000):
        line = {"t": time.time(), "kind": "step", "step": step, "total": 100_000, "loss": 1 / step, "epoch": 1}
        events.write(json.dumps(line) + "\\n")
        events.flush()
        if pathlib.Path("go").exists():
            sys.exit(0)
        time.sleep(0.05)
"""


def numbers_in(journal: Path) -> list[int]:
    """The steps that were heard, in order."""
    words = [line.split() for line in journal.read_text().splitlines()]
    return [int(line[2].partition("/")[0]) for line in words if len(line) > 2 and line[1] == "step"]


def begin(far: Far) -> str:
    with far.jobs() as jobs:
        return far.begin(jobs, TRAINS)


@pytest.mark.slow
def test_a_cut_link_is_said_to_be_that_and_what_was_missed_is_there_when_it_is_back(tmp_path: Path) -> None:
    with far_host(tmp_path) as far:
        far.write_settings()
        job = begin(far)
        environment = {"XDG_CONFIG_HOME": str(far.config), "HOME": str(far.config)}
        with terminal(t2v_tui("--workspace", str(far.here.root)), cwd=far.here.root, env=environment) as one:
            one.wait_for("● vm running")
            one.press("h")
            one.wait_for("Which host does the work")
            one.press("Down", "Enter")
            one.wait_for(r"● RUNNING vm .* ms")
            one.press("7")
            one.wait_for("● running .* vm ")
            one.press("L")
            one.wait_for("vm ● running")
            one.wait_for(r"step \d+/100000")
            far.proxy.rules.is_stalled = True
            one.wait_for(r"◐ UNREACHABLE vm .* last known running", timeout_s=45)
            far.proxy.rules.is_stalled = False
            one.press("R")
            one.wait_for(r"● RUNNING vm", timeout_s=60)
            journal = far.here.root / ".t2v/tui/journal/vm" / f"{job}.log"
            far.go()
            one.wait_for("✓ succeeded|✗ failed")
            heard = numbers_in(journal)
            assert heard == list(range(1, len(heard) + 1))
            one.press("q")
            one.wait_for("ended with 0")


@pytest.mark.slow
def test_one_key_and_a_yes_bring_a_vm_that_is_off_to_its_first_loss(tmp_path: Path) -> None:
    with vm_here(tmp_path) as vm:
        vm.add()
        vm.write_settings()
        hosts = vm.here.settings_file.read_text()
        vm.here.settings_file.write_text(TRAINING.format(data=data_set()) + hosts)
        environment = vm.gce.environment | {"XDG_CONFIG_HOME": str(vm.gce.home / ".config")}
        with terminal(t2v_tui("--workspace", str(vm.here.root)), cwd=vm.here.root, env=environment) as one:
            one.wait_for("○ a100-golden stopped")
            one.press("h")
            one.wait_for("Which host does the work")
            one.press("Down", "Enter")
            one.wait_for(r"○ STOPPED a100-golden .* confirmed \d+ s ago")
            one.press("t")
            screen = one.wait_for(r"y starts a100-golden, which then costs \$\d+\.\d\d/h")
            assert not any(f"✓ {step}" in screen for step in ("VM", "launch", "first loss"))
            one.press("y")
            one.wait_for("✓ VM")
            one.wait_for("✓ launch|it/s")  # on a busy machine the panel may be gone before anybody looks
            one.wait_for("✓ first loss|it/s")
            one.wait_for(r"● RUNNING a100-golden .*\$\d+\.\d\d/h")
            one.press("x")
            one.wait_for("stays on and costs")
            one.press("s")
            one.wait_for("■ stopped")
            one.press("v")
            one.wait_for("while off")
            one.press("d")
            one.wait_for("Stop a100-golden")
            one.press("s")
            one.wait_for("○ STOPPED a100-golden")
            one.press("q")
            assert "a100-golden" not in one.wait_for("ended with 0")
        assert vm.gce.left == []
