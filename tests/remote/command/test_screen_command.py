"""A machine behind three commands on the terminal UI's VM screen: a real terminal, a real script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machines.command_here import NAME, CommandHere, command_here
from support.screen.tmux_here import t2v_tui, terminal

from remote.power.state import Power
from t2v_tui.store.state import HostKind
from t2v_tui.workers.services import Services


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CommandHere]:
    with command_here(tmp_path) as home:
        home.write_settings('address = "127.0.0.1"', f'key_name = "{NAME}"', "usd_per_hour = 0.4")
        yield home


def test_it_is_started_and_stopped_from_its_screen(home: CommandHere) -> None:
    environment = {"HOME": str(home.home), "XDG_CONFIG_HOME": str(home.home / ".config")}
    with terminal(t2v_tui("--workspace", str(home.here.root)), cwd=home.here.root, env=environment) as one:
        one.wait_for(f"○ {NAME} stopped")
        one.press("h")
        one.wait_for("Which host does the work")
        one.press("Down", "Enter")
        one.wait_for(rf"○ STOPPED {NAME}")
        one.press("t")
        one.wait_for(f"y starts {NAME}", r"\$0.40/h")
        one.escape()
        one.press("v")
        one.wait_for("while off", "by command +stopped")
        one.press("u")
        one.wait_for(f"Start {NAME}")
        one.press("y")
        one.wait_for(rf"● RUNNING {NAME}", "by command +running")
        one.press("d")
        one.wait_for(f"Stop {NAME}")
        one.press("s")
        one.wait_for(rf"○ STOPPED {NAME}")
        one.press("q")
        one.wait_for("ended with 0")
    assert home.asked() == [f"start {NAME}", f"stop {NAME}"]


def test_the_screens_know_it_as_a_machine_with_a_price(home: CommandHere) -> None:
    services = Services(home.here)
    [_, view] = services.hosts()
    assert (view.kind, view.vm and view.vm.asked) == (HostKind.VM, "command")
    provider = services.provider(NAME)
    assert provider is not None
    heard = provider.look()
    assert (heard.vm.power, heard.vm.problem) == (Power.STOPPED, "")
    assert heard.cost is not None
    assert (heard.cost.usd_per_hour, heard.cost.up_usd_per_hour) == (0.0, 0.4)
    home.write_settings('address = "127.0.0.1"')
    unpriced = Services(home.here).provider(NAME)
    assert unpriced is not None
    assert unpriced.look().vm.problem == "what it costs is not known here"
