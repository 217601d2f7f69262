"""`esc` and `q` in the terminal UI while a VM of the cloud is being started: a real terminal, a real client."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from support.machines.gce_here import NAME
from support.machines.vm_here import VmHere, comes_up_slowly, vm_of_module
from support.screen.tmux_here import Terminal, t2v_tui, terminal
from support.screen.tui_states import NOW, VM, asking, live, stopped

from remote.steps import Status, StepState
from t2v_tui.store.events import LaunchClosed, LaunchLeft, LaunchTurned
from t2v_tui.store.reducer import reduce, shows_left
from t2v_tui.store.state import LaunchPhase
from t2v_tui.text.exit_summary import farewell

vm_module = vm_of_module


@pytest.fixture
def vm(vm_module: VmHere) -> VmHere:
    vm_module.gce.reset()
    vm_module.write_settings()
    return vm_module


@contextmanager
def on_it(vm: VmHere) -> Iterator[Terminal]:
    """The app as on its first day, with the VM chosen, which is off: by then it hears every key."""
    shutil.rmtree(vm.here.root / ".t2v/tui", ignore_errors=True)
    environment = vm.gce.environment | {"XDG_CONFIG_HOME": str(vm.gce.home / ".config")}
    with terminal(t2v_tui("--workspace", str(vm.here.root)), cwd=vm.here.root, env=environment) as one:
        one.wait_for(f"○ {NAME} stopped")
        one.press("h")
        one.wait_for("Which host does the work")
        one.press("Down", "Enter")
        one.wait_for(rf"○ STOPPED {NAME} .* confirmed \d+ s ago")
        one.wait_until_gone("Which host does the work")
        yield one


def words_of(screen: str) -> str:
    """Without what wraps and frames it."""
    return " ".join(re.sub("[│┃▌▐▊▎]", " ", screen).split())


def test_esc_while_the_vm_comes_up_says_that_it_will_run_what_it_costs_and_what_ends_it(vm: VmHere) -> None:
    with comes_up_slowly(vm), on_it(vm) as one:
        one.press("t")
        one.wait_for(f"y starts {NAME}")
        one.press("y")
        one.wait_for("◔ VM +STAGING")
        one.escape()
        one.wait_for("cancelled; r begins again")
        one.wait_for("! VM", "◔ STARTING")
        said = words_of(one.text())
        assert f"{NAME} is STAGING and will run, since a requested start cannot be cancelled; it costs $3.70" in said
        assert f"→ t2v vm stop --host {NAME} ends that" in said
        one.press("q")
        assert f"t2v vm stop --host {NAME}" in one.wait_for("ended with 0")
    assert len(vm.gce.emulator.seen("POST .*/start")) == 1


@pytest.mark.slow
def test_esc_while_there_is_no_room_asks_no_other_start_and_says_that_nothing_was_started(vm: VmHere) -> None:
    vm.add()
    vm.gce.emulator.fail_operation("start", "ZONE_RESOURCE_POOL_EXHAUSTED", http=503)
    with on_it(vm) as one:
        one.press("t")
        one.wait_for(f"y starts {NAME}")
        one.press("y")
        one.wait_for("no such machine available", "attempt 2 in 10 s")
        asked_t = time.monotonic()
        one.escape()
        one.wait_for(rf"✓ VM +{NAME} is TERMINATED; nothing was started")
        one.wait_until(lambda: time.monotonic() > asked_t + 11)  # when the second attempt would have been
        assert len(vm.gce.emulator.seen("POST .*/start")) == 1
        one.press("q")
        assert NAME not in one.wait_for("ended with 0")


def test_leaving_the_app_while_the_vm_comes_up_is_not_silent_about_it(vm: VmHere) -> None:
    vm.gce.emulator.fail("POST .*/start", 0, is_after=True)  # so early that nothing shows it yet
    with comes_up_slowly(vm), on_it(vm) as one:
        one.press("v")
        one.wait_for("while off")
        one.press("u")
        one.wait_for(f"Start {NAME}")
        one.press("y")
        one.wait_until(lambda: bool(vm.gce.emulator.seen("POST .*/start")))
        one.press("q")
        screen = words_of(one.wait_for("ended with 0"))
        assert f"t2v vm stop --host {NAME}" in screen
        assert "was being started: it may still come up, and then costs $3.7" in screen or "is starting" in screen


@pytest.mark.slow
def test_a_vm_that_is_started_from_its_screen_is_guarded_and_limited_as_from_the_command_line(vm: VmHere) -> None:
    instance = vm.add()
    with on_it(vm) as one:
        one.press("v")
        one.wait_for("while off")
        one.press("u")
        one.wait_for(f"Start {NAME}")
        one.press("y")
        notices: list[str] = []

        def is_guarded() -> bool:
            notices.extend(line for line in one.text().splitlines() if "▌" in line and line not in notices)
            return (vm.sshd.home / ".cache/t2v/guard/rules.json").exists()

        try:
            one.wait_until(is_guarded)
        except AssertionError as error:
            raise AssertionError("\n".join(notices)) from error  # why, which the screen shows for some seconds only
        assert instance.max_run_s == 24 * 3600
        one.wait_for(rf"● RUNNING {NAME}", "stops in|stops when idle|stop ")
        one.press("q")
        one.wait_for("ended with 0")


def test_one_that_is_stopped_on_its_way_up_is_stopped_and_nobody_waits_for_it_to_run(vm: VmHere) -> None:
    with comes_up_slowly(vm) as instance, on_it(vm) as one:
        one.press("v")
        one.wait_for("while off")
        one.press("u")
        one.wait_for(f"Start {NAME}")
        one.press("y")
        one.wait_for(rf"◔ STARTING {NAME}")
        one.press("d")
        one.wait_for(f"Stop {NAME}")
        one.press("s")
        one.wait_for(rf"○ STOPPED {NAME}")
        assert instance.status == "TERMINATED"
        one.press("q")
        assert NAME not in one.wait_for("ended with 0")


# What is said, in every case


WILL_RUN = StepState("VM", Status.NOTE, f"{VM} is STAGING and will run", f"t2v vm stop --host {VM} ends that")


def test_the_panel_that_was_cancelled_shows_it_and_another_one_does_not() -> None:
    cancelled = reduce(asking(), LaunchTurned(LaunchPhase.CANCELLED))
    assert shows_left(cancelled, VM)
    after = reduce(cancelled, LaunchLeft(VM, WILL_RUN))
    assert after.launch is not None
    assert after.launch.steps == (WILL_RUN,)
    for other in (asking(), reduce(cancelled, LaunchClosed())):  # there it is a notice
        assert not shows_left(other, VM)
        assert reduce(other, LaunchLeft(VM, WILL_RUN)) is other


def test_a_vm_that_is_being_started_is_named_at_the_end_although_nothing_shows_it_yet() -> None:
    said = f"  ◔ {VM} was being started: it may still come up, and then costs $3.69/h   (t2v vm stop --host {VM})"
    assert said in farewell(stopped(), NOW, "t2v-tui", {VM})
    launching = reduce(asking(), LaunchTurned(LaunchPhase.WORKING))
    assert said in farewell(launching, NOW, "t2v-tui")
    assert said not in farewell(asking(), NOW, "t2v-tui")  # nobody has said yes


def test_a_vm_that_runs_is_named_once() -> None:
    assert sum(VM in line and "vm stop" in line for line in farewell(live(), NOW, "t2v-tui", {VM})) == 1


def test_a_played_vm_costs_nobody_anything() -> None:
    state = stopped()
    host = state.hosts[VM]
    assert host.vm is not None
    played = replace(state, hosts={VM: replace(host, vm=replace(host.vm, is_simulated=True))})
    assert farewell(played, NOW, "t2v-tui", {VM}) == []
