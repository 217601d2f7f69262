"""The guard of a machine that t2v.toml names: it powers off that one, no other, and never the one that t2v runs on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hosts.guarded import HOUR, Guarded, guarded

from remote.agent.base import cloud
from remote.agent.base.processes import boot_id
from remote.agent.guard import unit_texts as guard_units
from remote.errors import AgentError
from remote.guard import guard_status, install_guard

BY = {"id": "0123456789abcdef", "name": "me@here"}


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Guarded]:
    """Its firmware says that it is a desk's, and what would switch it off only writes that down."""
    with guarded(tmp_path) as vm:
        del vm.environment["T2V_POWER_OFF"]
        vm.environment["T2V_PRODUCT_FILE"] = str(tmp_path / "product")
        (tmp_path / "product").write_text("Desk 3000\n")
        for name in ("sudo", "systemctl", "poweroff"):
            vm.program(name, f'#!/bin/sh\necho "{name} $*" >> {tmp_path / "off"}\n')
        yield vm


def test_one_that_is_named_is_powered_off(vm: Guarded) -> None:
    install_guard(vm, vm.settings, BY, is_any_machine=True)
    assert guard_status(vm).can_power_off
    (vm.folder / "off").unlink(missing_ok=True)  # it was asked whether it may
    vm.look()
    vm.was_idle_for(HOUR)
    assert vm.look()["error"] is None
    assert (vm.folder / "off").read_text().splitlines()[0] == "sudo -n systemctl poweroff"


def test_its_disk_in_another_machine_powers_off_nothing(vm: Guarded) -> None:
    install_guard(vm, vm.settings, BY, is_any_machine=True)
    (vm.folder / "product").write_text("Laptop 7\n")
    (vm.folder / "off").unlink(missing_ok=True)
    vm.look()
    vm.was_idle_for(HOUR)
    assert vm.look()["error"] == "it cannot power itself off: it is another machine than the guard was made for"
    assert not (vm.folder / "off").exists()


def test_a_workspace_that_does_not_name_it_leaves_the_name(vm: Guarded) -> None:
    install_guard(vm, vm.settings, BY, is_any_machine=True)
    install_guard(vm, vm.settings, BY)
    assert guard_status(vm).can_power_off


def test_the_machine_that_t2v_runs_on_gets_no_guard(vm: Guarded) -> None:
    here = boot_id()
    assert here is not None
    (vm.folder / "boot_id").write_text(f"{here}\n")
    with pytest.raises(AgentError, match="the machine that t2v runs on"):
        install_guard(vm, vm.settings, BY, is_any_machine=True)
    assert "product" not in vm.file("rules.json").read_text()


def test_what_process_1_runs_before_it_powers_off_asks_the_firmware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = tmp_path / "product"
    for module in (cloud, guard_units):
        monkeypatch.setattr(module, "PRODUCT", product)
    product.write_text("Desk 3000\n")
    assert guard_units.is_it("Desk 3000") == f'/bin/grep -qxF -- "Desk 3000" "{product}"'
    assert guard_units.is_it('5" $HOME 100%') == f'/bin/grep -qxF -- "5\\" $$HOME 100%%" "{product}"'
    assert guard_units.is_it("") == "/bin/true"  # a board without firmware
    product.write_text("Google Compute Engine\n")
    assert guard_units.is_it(None) == f'/bin/grep -q ^Google "{product}"'
