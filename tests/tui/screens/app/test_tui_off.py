"""A machine that its provider has stopped is said to be off at once, whatever it answered a moment before."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.hosts.agent_here import wait_until
from support.screen.tui_states import NOW, RUNNING, STOPPED, VM, live

from remote.power.state import Power
from t2v_core.workspace import Workspace
from t2v_tui.store.events import LinkReceived, MachineReceived, News, VmReceived
from t2v_tui.store.reducer import reduce
from t2v_tui.store.state import HostKind, HostView, LinkView, Reach, State, VmView
from t2v_tui.text.headline import headline, is_off, truth
from t2v_tui.widgets.gauges import in_one_line, not_looked_at, text_of
from t2v_tui.workers import demo_vm
from t2v_tui.workers.demo_vm import NAME, DemoServices
from t2v_tui.workers.streams import HostPoll, MachineWatch


def words(state: State, width: int) -> str:
    left, right = headline(state, NOW, width)
    return "".join(piece.text for piece in (*left, *right))


def stopped_a_moment_ago() -> State:
    """The link was up when the stop was asked for, and nobody has asked the machine since."""
    assert STOPPED.vm is not None
    return reduce(live(), VmReceived(VM, replace(STOPPED.vm, seen_t=NOW - 1)))


def test_the_providers_later_word_goes_before_an_earlier_answer() -> None:
    host = stopped_a_moment_ago().hosts[VM]
    assert host.link.reach is Reach.UP
    assert is_off(host)
    assert (truth(host, NOW).word, truth(host, NOW).detail) == ("STOPPED", "confirmed 1 s ago")
    assert " ms" not in words(stopped_a_moment_ago(), 120)


def test_an_answer_that_came_later_shows_that_it_runs() -> None:
    assert STOPPED.vm is not None
    vm = replace(STOPPED.vm, seen_t=NOW - 9)
    assert truth(replace(RUNNING, vm=vm), NOW).word == "RUNNING"


def test_gauges_of_a_stopped_machine_are_gone() -> None:
    assert live().hosts[VM].machine is not None
    assert stopped_a_moment_ago().hosts[VM].machine is None


def test_a_machine_that_does_not_tell_its_memory_has_its_other_gauges() -> None:
    host = live().hosts[VM]
    assert host.machine is not None
    unsaid = replace(host, machine=replace(host.machine, gpus=(), memory_available_bytes=None))
    assert "mem" in text_of(unsaid, NOW).plain
    assert in_one_line(unsaid, NOW).startswith("cpu  41% · disk")


@pytest.mark.parametrize("width", [110, 115, 120])
def test_a_price_that_nobody_pays_stands_beside_the_word_simulated(width: int) -> None:
    state = live()
    assert RUNNING.vm is not None
    played = replace(RUNNING, vm=replace(RUNNING.vm, is_simulated=True))
    said = words(replace(state, hosts={**state.hosts, VM: played}), width)
    assert "simulated" in said
    assert "$3.69/h" in said


def test_who_listens_to_a_machine_that_is_stopped_says_that_it_is_off_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_vm, "COMES_UP_S", 0.05)
    monkeypatch.setattr(demo_vm, "GOES_DOWN_S", 0.05)
    services = DemoServices(Workspace(tmp_path))
    services.machine.start(lambda _: None, threading.Event())
    told: list[News] = []
    poll = HostPoll(NAME, services, told.append, lambda _: services.machine.look().vm.power is Power.STOPPED)
    watch = MachineWatch(NAME, services, told.append, poll.is_off)
    poll.start()
    watch.start()
    try:
        wait_until(lambda: _has(told, Reach.UP) and any(isinstance(one, MachineReceived) for one in told))
        services.machine.stop()
        told.clear()
        poll.wake()
        wait_until(lambda: _has(told, Reach.LOST))
        (lost,) = [one for one in told if isinstance(one, LinkReceived) and one.link.reach is Reach.LOST]
        assert lost.link.why == "demo-vm is off"
    finally:
        poll.close()
        watch.close()
        services.close()


def _has(told: list[News], reach: Reach) -> bool:
    return any(isinstance(one, LinkReceived) and one.link.reach is reach for one in list(told))


@pytest.mark.parametrize(
    ("power", "says"), [(Power.STARTING, "◔ vm is starting"), (Power.STOPPING, "◑ vm is stopping")]
)
def test_the_gauges_of_a_vm_on_its_way_say_which(power: Power, says: str) -> None:
    host = HostView("vm", HostKind.VM, link=LinkView(Reach.LOST, 1.0), vm=VmView(power, 1.0))
    assert not_looked_at(host, 2.0) == says
