"""A machine behind three commands: a real script says how it stands, starts it and stops it."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hosts.agent_here import wait_until
from support.machines.command_here import write_script

from remote.command import machine as module
from remote.command import run
from remote.command.answer import POWERS, WORDS, Answer, power_of, read_answer
from remote.command.machine import CommandMachine, CommandState
from remote.cost.meter import HostCost
from remote.errors import ProviderFailed, StartLeft, VmRefused
from remote.host_factory import host_named, switched_host
from remote.hosts.settings import HostSettings
from remote.power.state import MachineState, Power
from remote.steps import StepState
from t2v_core.errors import InvalidRequest
from t2v_core.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(module, "LOOKS_S", (0.01, 0.01))
    write_script(tmp_path)
    return Workspace(tmp_path)


def machine(workspace: Workspace, **commands: str | None) -> CommandMachine:
    said = {f"{verb}_command": f"./home.sh {verb}" for verb in ("status", "start", "stop")} | commands
    return CommandMachine("home", HostSettings(provider="command", **said), workspace)  # type: ignore[arg-type]


def asked(workspace: Workspace) -> list[str]:
    return (workspace.root / "asked").read_text().splitlines()


def heard() -> tuple[list[str], Callable[[StepState | MachineState], None]]:
    words: list[str] = []
    return words, lambda said: words.append(said.detail if isinstance(said, StepState) else said.status)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ProviderFailed) as caught:
        action()
    assert caught.value.exit_code == 2
    return caught.value.message


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


# What it says


@pytest.mark.parametrize(
    ("said", "power"),
    [
        ("running", Power.RUNNING), ("RUNNING", Power.RUNNING), ("ACTIVE", Power.RUNNING), ("on\n", Power.RUNNING),
        ("VM running", Power.RUNNING), ("PowerState/running", Power.RUNNING), ('"running"', Power.RUNNING),
        ("up", Power.RUNNING), ("poweredOn", Power.RUNNING), ("stopped", Power.STOPPED), ("Off", Power.STOPPED),
        ("TERMINATED", Power.STOPPED), ("SHUTOFF", Power.STOPPED), ("shut off", Power.STOPPED),
        ("poweredOff", Power.STOPPED), ("VM deallocated", Power.STOPPED), ("down", Power.STOPPED),
        ("pending", Power.STARTING), ("BUILD", Power.STARTING), ("STAGING", Power.STARTING),
        ("shutting-down", Power.STOPPING), ("in shutdown", Power.STOPPING), ("deallocating", Power.STOPPING),
        ("unknown", Power.UNKNOWN),
    ],
)  # fmt: skip
def test_clouds_and_hypervisors_own_words_are_understood(said: str, power: Power) -> None:
    assert read_answer(said.encode(), "its status_command").power is power


def test_no_word_means_two_things() -> None:
    words = [word for words in WORDS.values() for word in words.split()]
    assert len(words) == len(set(words)) == len(POWERS)


def test_an_object_may_say_where_it_is_what_it_is_and_what_it_costs(workspace: Workspace) -> None:
    said = {"state": "ACTIVE", "address": "10.0.0.7", "machine": "gpu-1", "gpus": ["T4", "T4"], "usd_per_hour": 0.5}
    (workspace.root / "said").write_text(json.dumps(said | {"more": [1]}))
    state = machine(workspace, status_command="cat said").state()
    assert (state.power, state.status, state.address) == (Power.RUNNING, "ACTIVE", "10.0.0.7")
    assert (state.machine_type, state.gpus, state.usd_per_hour) == ("gpu-1", (("T4", 2),), 0.5)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("", "prints nothing"), ("running?no", "prints 'running?no', which is not a state"),
        ("x" * 5000, "which is not a state"), ("{", "prints no JSON object"), ('{"power": "on"}', "it says no state"),
        ('{"state": 1}', "state is a number"), ('{"state": "on", "usd_per_hour": "2"}', "usd_per_hour is a text"),
        ('{"state": "on", "usd_per_hour": -1}', "an hour costs -1 USD"),
        ('{"state": "on", "address": "-oProxyCommand=x"}', "its address is '-oProxyCommand=x'"),
        ('{"state": "on", "address": "me@there"}', "its address is 'me@there'"),
        ('{"state": "on", "gpus": [1]}', "gpus[0] is a number"), ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_one_sentence(workspace: Workspace, said: str, sentence: str) -> None:
    (workspace.root / "said").write_text(said)
    told = refusal(machine(workspace, status_command="cat said").state)
    assert told.startswith("status_command of home")
    assert sentence in told
    assert "\x1b" not in told
    assert len(told) < 300


@settings(deadline=None)  # a busy machine is none of its promises
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: json.dumps({"state": text}).encode()))
def test_whatever_is_printed_is_an_answer_or_one_sentence(printed: bytes) -> None:
    said = answer_or_error(printed)
    if isinstance(said, ProviderFailed):
        assert said.message.isprintable()
    else:
        assert said.power is power_of(said.word)


def answer_or_error(printed: bytes) -> Answer | ProviderFailed:
    try:
        return read_answer(printed, "status_command of home")
    except ProviderFailed as error:
        return error


@given(st.sampled_from(sorted(POWERS)), st.data())
def test_case_and_what_stands_between_letters_change_no_word(word: str, data: st.DataObject) -> None:
    between = data.draw(st.lists(st.sampled_from(["", " ", "-", "_"]), min_size=len(word), max_size=len(word)))
    changed = "".join(one + more for one, more in zip(word, between, strict=True))
    assert power_of(changed.upper()) is POWERS[word]


# What fails


def test_a_command_that_fails_tells_its_code_and_its_last_line(workspace: Workspace) -> None:
    told = refusal(machine(workspace, status_command="echo one >&2; echo 'no such box' >&2; exit 3").state)
    assert told == "status_command of home failed with code 3: no such box"
    assert refusal(machine(workspace, status_command="kill -9 $$").state).startswith(
        "status_command of home was ended by signal 9"
    )
    assert "no-such-program" in refusal(machine(workspace, status_command="no-such-program").state)


def test_one_that_hangs_is_ended_with_all_that_it_began(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STATUS_TIMEOUT_S", 0.5)
    hangs = machine(workspace, status_command="trap '' TERM; sleep 300 & echo $! > child; wait; sleep 300")
    assert refusal(hangs.state) == "status_command of home did not end within 0.5 s, and was ended"
    child = int((workspace.root / "child").read_text())
    wait_until(lambda: not is_alive(child))


def test_one_that_prints_megabytes_is_ended(workspace: Workspace) -> None:
    assert "prints more than 64 kB" in refusal(machine(workspace, status_command="yes running").state)
    assert "prints more than 64 kB" in refusal(machine(workspace, status_command="head -c 70000 /dev/zero").state)


def test_what_a_start_leaves_running_goes_on(workspace: Workspace) -> None:
    """As a virtual machine that is a child of the command that started it."""
    begun = machine(workspace, start_command="sleep 300 & echo $! > child; echo running > stands")
    assert begun.start().is_running
    child = int((workspace.root / "child").read_text())
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)


# Start and stop


def test_a_start_waits_until_it_runs_and_a_stop_until_it_is_off(workspace: Workspace) -> None:
    words, tell = heard()
    home = machine(workspace)
    assert home.start(tell=tell).power is Power.RUNNING
    assert words == ["its start_command runs: ./home.sh start", "starting", "running"]
    assert not home.is_start_asked
    assert home.start().is_running  # it runs already
    words.clear()
    assert home.stop(tell=tell).is_stopped
    assert words == ["its stop_command runs: ./home.sh stop", "stopping", "stopped"]
    assert home.stop().is_stopped
    assert [line for line in asked(workspace) if "status" not in line] == ["start home", "stop home"]


def test_one_on_its_way_is_waited_for_and_not_asked_again(workspace: Workspace) -> None:
    (workspace.root / "stands").write_text("starting\n")
    assert machine(workspace).start().is_running
    (workspace.root / "stands").write_text("stopping\n")
    assert machine(workspace).stop().is_stopped
    assert {line.split()[0] for line in asked(workspace)} == {"status"}


def test_what_is_not_there_to_start_or_stop_it_by_is_said(workspace: Workspace) -> None:
    with pytest.raises(VmRefused, match="does not say how to start home: it has no start_command") as caught:
        machine(workspace, start_command=None).start()
    assert caught.value.exit_code == 2
    (workspace.root / "stands").write_text("running\n")
    with pytest.raises(VmRefused, match="does not say how to stop home: it has no stop_command"):
        machine(workspace, stop_command=None).stop()
    assert machine(workspace, start_command=None).start().is_running
    with pytest.raises(InvalidRequest, match=r"\[host.home\] has provider = \"command\" and no status_command"):
        machine(workspace, status_command=None)


def test_a_start_command_that_fails_is_told_unless_the_machine_comes_up_all_the_same(workspace: Workspace) -> None:
    failing = machine(workspace, start_command="echo 'no room' >&2; exit 1")
    assert refusal(failing.start) == "start_command of home failed with code 1: no room"
    assert not failing.is_start_asked
    assert machine(workspace, start_command="./home.sh start; exit 1").start().is_running
    assert machine(workspace, stop_command="./home.sh stop; exit 1").stop().is_stopped


def test_one_that_never_comes_up_is_told_when_time_is_over(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_TIMEOUT_S", 0.2)
    told = refusal(machine(workspace, start_command="true").start)
    assert re.fullmatch(r"home is still stopped after 0 minutes; it may be running, and costing money", told)


def test_a_status_that_fails_while_it_comes_up_is_asked_again(workspace: Workspace) -> None:
    flaky = 'if [ "$(cat stands)" = starting ] && mkdir failed 2>/dev/null; then echo lost >&2; exit 255; fi; '
    words, tell = heard()
    assert machine(workspace, status_command=flaky + "./home.sh status").start(tell=tell).is_running
    assert "status_command of home failed with code 255: lost; looking again" in words


def test_leaving_ends_a_start_command_and_says_that_it_was_asked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNSURE_S", 0.1)
    home = machine(workspace, start_command="echo $$ > child; sleep 300")
    cancelled = threading.Event()
    threading.Thread(target=lambda: (wait_until((workspace.root / "child").exists), cancelled.set())).start()
    with pytest.raises(StartLeft):
        home.start(cancelled=cancelled)
    assert home.is_start_asked
    assert home.left().is_stopped
    assert not is_alive(int((workspace.root / "child").read_text()))
    untouched = machine(workspace)
    with pytest.raises(StartLeft, match="was not started"):
        untouched.start(cancelled=cancelled)
    assert not untouched.is_start_asked


# Since when, and what it costs


def test_the_ledger_knows_since_when_it_runs_and_what_that_costs(workspace: Workspace) -> None:
    costs = HostCost.of(workspace, "home", HostSettings(provider="command", usd_per_hour=2.0))
    up = machine(workspace).start()
    costs.see(up)
    again = machine(workspace).state()  # another process
    assert again.last_start_t == up.last_start_t is not None
    assert costs.see(again, up.last_start_t + 3600).usd_session == pytest.approx(2.0, abs=0.01)
    off = machine(workspace).stop()
    assert costs.see(off).usd_per_hour == 0
    [session] = costs.ledger.sessions()
    assert (session.stopped_t, session.is_exact) == (off.last_stop_t, True)


def test_one_that_stopped_unseen_has_begun_anew_when_it_is_started(workspace: Workspace) -> None:
    """Its guard powers it off while nobody looks: the session that the ledger has as open is over."""
    costs = HostCost.of(workspace, "home", HostSettings(provider="command", usd_per_hour=2.0))
    first = machine(workspace).start()
    costs.see(first)
    (workspace.root / "stands").write_text("stopped\n")
    second = machine(workspace).start()
    costs.see(second)
    assert [one.started_t for one in costs.ledger.sessions()] == [first.last_start_t, second.last_start_t]
    assert machine(workspace).state().last_start_t == second.last_start_t


def test_a_price_is_that_of_the_settings_else_its_own_word_else_not_known(workspace: Workspace) -> None:
    state = CommandState(name="home", id="home", status="on", machine_type="", seen_t=0.0, usd_per_hour=0.5)
    assert HostCost.of(workspace, "home", HostSettings(usd_per_hour=2.0)).price(state).usd_per_hour == 2.0
    assert HostCost.of(workspace, "home", HostSettings()).price(state).usd_per_hour == 0.5


# As a host of t2v.toml


def write_settings(workspace: Workspace, *lines: str) -> None:
    (workspace.root / "t2v.toml").write_text("\n".join(["[host.home]", 'provider = "command"', *lines]) + "\n")


def test_its_address_is_that_of_the_settings_else_its_own_word_else_its_name(workspace: Workspace) -> None:
    (workspace.root / "said").write_text('{"state": "on", "address": "10.0.0.7"}')
    write_settings(workspace, 'status_command = "cat said"', "port = 2222", 'user = "me"')
    home = switched_host("home", workspace)
    assert (str(home.route), home.key_name, home.user) == ("10.0.0.7:2222", "home", "me")
    (workspace.root / "said").write_text('{"state": "on", "address": "10.0.0.8"}')
    home.ask_state()  # it was started anew, and is elsewhere
    assert str(home.route) == "10.0.0.8:2222"
    write_settings(workspace, 'status_command = "cat said"', 'address = "192.0.2.1"')
    fixed = switched_host("home", workspace)
    assert (fixed.route.host, fixed.key_name) == ("192.0.2.1", "192.0.2.1")
    write_settings(workspace, 'status_command = "echo on"')
    assert switched_host("home", workspace).route.host == "home"


def test_a_wrong_section_is_a_sentence(workspace: Workspace) -> None:
    write_settings(workspace)
    with pytest.raises(InvalidRequest, match="no status_command"):
        host_named("home", workspace)
    write_settings(workspace, 'status_comand = "echo on"')
    with pytest.raises(InvalidRequest) as caught:
        host_named("home", workspace)
    assert caught.value.hint == "did you mean 'status_command'?"


def test_a_deadline_is_in_every_command(workspace: Workspace) -> None:
    late = run.Command("stop_command", "sleep 300", "home", workspace.root, 0.1)
    assert "did not end within 0.1 s" in refusal(late.output)
