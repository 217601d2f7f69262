"""A VM that is a real machine: started by the API, switched off by its own guard, and taken away as spot ones are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine.training_set import data_set
from support.machines.machine_vm import ALIAS, MachineVm, machine_vm

from remote.hosts.known_hosts import KnownHosts

pytestmark = pytest.mark.slow
TRAIN = (
    "train", "--preset", "tiny", "--epochs", "500", "--batch-size", "2", "--checkpoint-every", "400", "--samples", "0",
    "--device", "cpu", "--data", "data/small",
)  # fmt: skip


@pytest.fixture(scope="module")
def machine_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineVm]:
    with machine_vm(tmp_path_factory.mktemp("vm") / "vm", f'python = "{sys.executable}"') as one:
        one.give(data_set(), "data/small")
        yield one


@pytest.fixture
def vm(machine_of_module: MachineVm, monkeypatch: pytest.MonkeyPatch) -> MachineVm:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    machine_of_module.gce.emulator.requests.clear()
    return machine_of_module


def status(vm: MachineVm, *words: str) -> dict[str, object]:
    return vm.said("vm", "status", *words)


def steps(job: Path | None) -> list[int]:
    path = job / "events.jsonl" if job else Path("/nowhere")
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event["step"] for event in events if event["kind"] == "step"]


def test_a_start_boots_it_and_its_guard_s_power_off_is_a_vm_that_is_terminated(vm: MachineVm) -> None:
    assert not vm.machine.is_on
    vm.ran("vm", "start")
    assert vm.machine.is_on
    # By its own host key, and by ours, which its metadata brought there.
    known = KnownHosts(vm.gce.home / ".config/t2v/known_hosts")
    assert known.pinned(ALIAS) == [vm.machine.public_host_key]
    assert (vm.home / ".ssh/authorized_keys").read_text().split()[1] in vm.instance.metadata.items["ssh-keys"]
    before = status(vm, "--guard")
    assert before["status"] == "RUNNING"
    assert before["ssh_answers"] is True
    assert before["guard"]["by"] == "systemd timer"  # type: ignore[index]

    vm.is_left_alone()
    vm.until(lambda: status(vm)["status"] == "TERMINATED")
    assert vm.gce.emulator.seen("POST .*/stop") == []


def test_a_training_on_one_that_is_taken_away_keeps_what_it_has_and_goes_on_when_it_is_back(vm: MachineVm) -> None:
    """Its notice and its power button come at the same moment, as Google has it."""
    vm.ran(*TRAIN, "--detach")
    first = vm.job("train")
    assert first is not None
    vm.until(lambda: len(steps(first)) > 3)
    vm.metadata.flip()
    vm.gce.cloud.bring_down(vm.instance)
    assert not vm.machine.is_on
    last = steps(first)[-1]
    assert len(list(vm.there.glob("checkpoints/checkpoint_*/manifest.json"))) == 1
    assert status(vm)["status"] == "TERMINATED"

    said = vm.ran("vm", "start").stderr
    second = vm.job("train")
    assert second is not None
    assert f"{first.name} was preempted and goes on as {second.name}, from its newest checkpoint" in said
    [row] = [one for one in vm.said("jobs") if one["job"] == first.name]
    assert row["state"] == "preempted"
    assert row["reason"].startswith("the machine was preempted; stopped ")
    assert f" after step {last} of" in row["reason"]
    vm.until(lambda: steps(second) != [])
    assert steps(second)[0] == last + 1
    vm.ran("stop", second.name)
    vm.ran("vm", "stop")
    assert not vm.machine.is_on
