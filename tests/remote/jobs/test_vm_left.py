"""Whoever leaves while a VM is being started learns whether it comes up all the same, at what price, and what ends it.

A start that was asked of the cloud cannot be taken back: only the API's word decides what is said.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from support.hosts.agent_here import wait_until
from support.machines.gce_here import NAME, ZONE
from support.machines.vm_here import VmHere, comes_up_slowly, vm_as_new, vm_of_module

from remote.errors import CloudUnreachable, StartLeft
from remote.gce import client as gce_client
from remote.gce import vm as gce
from remote.gce.vm_state import VmState
from remote.guard import guard_status
from remote.power.start import left_vm, vm_up
from remote.steps import Status, StepState
from t2v_tui.cli.narrate import PlainNarrator
from t2v_tui.cli.vm.left import told_if_left

SHAPES = ("data", "shapes", "--host", NAME, "--clips", "2", "--test-clips", "1", "--data", "data/few")
ENDS_IT = f"t2v vm stop --host {NAME} ends that"


vm_module, vm = vm_of_module, vm_as_new


def interrupted(vm: VmHere, *words: str, at: str, then: Callable[[], None] = lambda: None) -> str:
    """Ctrl-C as soon as that is said; what is said afterwards."""
    child: subprocess.Popen[str] = vm.t2v(*words)
    assert child.stderr is not None
    assert any(at in line for line in iter(child.stderr.readline, "")), f"{at} was not said"
    then()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=240)
    assert (child.returncode, out, "Traceback" in err) == (130, "", False), err
    return err


@pytest.mark.parametrize("words", [("vm", "start"), SHAPES], ids=["vm start", "a verb there"])
def test_a_start_that_was_asked_goes_on_and_that_is_said_with_its_price_and_its_end(
    vm: VmHere, words: tuple[str, ...]
) -> None:
    with comes_up_slowly(vm) as instance:
        err = interrupted(vm, *words, at="STAGING")
    assert (
        f"{NAME} is STAGING and will run, since a requested start cannot be cancelled; it costs $3.70 an hour "
        "(est., prices of 20"
    ) in err
    assert f"until it is stopped; {ENDS_IT}" in err
    wait_until(lambda: instance.status == "RUNNING")  # as was said
    command = err[err.index("t2v vm stop") : err.index(" ends that")].split()[1:]
    assert vm.ran(*command).returncode == 0  # and what was said to end it ends it
    assert instance.status == "TERMINATED"


def test_a_vm_that_runs_is_not_left_unsaid_whichever_step_comes_after(vm: VmHere) -> None:
    vm.gce.cloud.boot_s = 60.0
    vm.add()
    err = interrupted(vm, *SHAPES, at="no SSH server yet")
    assert f"{NAME} runs and costs $3.7" in err
    assert ENDS_IT in err


def test_a_start_whose_answer_never_came_is_looked_for(vm: VmHere) -> None:
    """The request is on its way when somebody leaves: it may have arrived."""
    vm.gce.emulator.fail("POST .*/start", 0, is_after=True)
    with comes_up_slowly(vm):
        err = interrupted(
            vm, "vm", "start", at="Google Cloud stops it after",
            then=lambda: wait_until(lambda: bool(vm.gce.emulator.seen("POST .*/start"))),
        )  # fmt: skip
    assert f"{NAME} is STAGING and will run" in err


def test_a_cloud_that_cannot_be_asked_afterwards_leaves_it_open(vm: VmHere) -> None:
    def refuses() -> None:
        vm.gce.emulator.fail("GET", 401, times=None)

    with comes_up_slowly(vm):
        err = interrupted(vm, "vm", "start", at="STAGING", then=refuses)
    assert f"{NAME} may be running, and costing money: its start was requested, and its state cannot be read: " in err
    assert "login has expired" in err
    assert ENDS_IT in err


def test_what_fails_after_the_start_names_the_vm_that_it_leaves_and_a_guard_watches_it(vm: VmHere) -> None:
    vm.add()
    told = vm.ran("train", "--host", NAME, "--detach", "--data", "data/none", "--device", "cpu")
    assert (told.returncode, "has no latents and text_embeddings in data/none" in told.stderr) == (1, True)
    assert f"{NAME} runs and costs $3.7" in told.stderr
    host = vm.host()
    assert guard_status(host).is_installed
    host.close()


def test_a_network_that_goes_down_during_a_start_leaves_a_word_that_it_was_asked(
    vm: VmHere, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gce, "START_TIMEOUT_S", 5.0)
    monkeypatch.setattr(gce_client, "PAUSES_S", (0.01,))
    host, narrator = vm.host(), PlainNarrator(sys.stderr)

    def starts() -> None:
        with told_if_left(host, vm.here, narrator):
            for step in vm_up(host, vm.here):
                if step.detail == "STAGING":
                    vm.gce.emulator.fail("GET", 503, times=None)

    with comes_up_slowly(vm), pytest.raises(CloudUnreachable):
        starts()
    assert (
        f"{NAME} may be running, and costing money: its start was requested, and its state cannot be read: "
        in capsys.readouterr().err
    )


def test_leaving_a_stop_says_that_it_is_not_confirmed(vm: VmHere) -> None:
    vm.add("RUNNING")
    vm.gce.cloud.step_s = 1.5
    err = interrupted(vm, "vm", "stop", "--force", at="STOPPING")
    assert (
        f"stopped waiting before Google Cloud confirmed that {NAME} is off; t2v vm status --host {NAME} shows "
        "whether it is off" in err
    )
    assert "is stopped" not in err


# From another thread, as the terminal UI does it


def leave_at(vm: VmHere, word: str) -> tuple[gce.Vm, list[str]]:
    """A start that another thread stops waiting for when that is said."""
    machine, cancelled, heard = vm.gce.vm, threading.Event(), []

    def tell(said: StepState | VmState) -> None:
        heard.append(said.detail if isinstance(said, StepState) else said.status)
        if word in heard[-1]:
            cancelled.set()

    with pytest.raises((StartLeft, gce.Stockout)):
        machine.start(tell=tell, cancelled=cancelled)
    return machine, heard


def test_a_start_that_was_left_while_there_is_no_room_is_not_asked_again(
    vm: VmHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gce, "STOCKOUT_PAUSES_S", (0.3,))
    vm.add()
    vm.gce.emulator.fail_operation("start", "ZONE_RESOURCE_POOL_EXHAUSTED", http=503)
    machine, _ = leave_at(vm, "no such machine")
    assert len(vm.gce.emulator.seen("POST .*/start")) == 1
    host = vm.host()
    host.vm = machine
    said = left_vm(host, vm.here)
    assert (said.status, said.detail) == (Status.OK, f"{NAME} is TERMINATED; nothing was started")


def test_one_that_is_left_before_it_was_asked_asks_nothing(vm: VmHere) -> None:
    """It goes down just now; its start would have been asked when it is off."""
    instance = vm.add("RUNNING")
    vm.gce.cloud.step_s = 0.5
    vm.gce.cloud.begin("stop", "", ZONE, lambda: vm.gce.cloud.bring_down(instance))
    wait_until(lambda: instance.status == "STOPPING")
    machine, heard = leave_at(vm, "STOPPING")
    assert (vm.gce.emulator.seen("POST .*/start"), machine.is_start_asked) == ([], False)
    assert heard == ["STOPPING"]


def test_one_that_is_left_on_its_way_up_is_left_at_once(vm: VmHere) -> None:
    with comes_up_slowly(vm):
        machine, heard = leave_at(vm, "STAGING")
        assert (machine.is_start_asked, heard) == (True, ["STAGING"])
        assert machine.left().status == "STAGING"


def test_a_vm_that_may_not_be_stopped_on_its_way_up_is_stopped_when_it_is_there(vm: VmHere) -> None:
    instance = vm.gce.add("STAGING")
    vm.gce.emulator.fail("POST .*/stop", 400, message="The resource is not ready")
    threading.Timer(0.3, lambda: vm.gce.cloud.bring_up(instance)).start()
    assert vm.gce.vm.stop().is_stopped
    assert len(vm.gce.emulator.seen("POST .*/stop")) == 2
